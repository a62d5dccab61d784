//! Basic authentication, RFC 7617, against bcrypt hashes.
//!
//! bcrypt is slow by design, and a scrape must not be: credentials are remembered as a keyed digest
//! until the file changes, right ones and wrong ones. Others are verified on a blocking thread, one at
//! a time and with pauses after failures (`turns.rs`). A verification costs what the dearest hash
//! costs, whatever user it names, so that its time does not reveal which users exist.

use std::{
    collections::{BTreeMap, HashSet},
    str::FromStr as _,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bcrypt::HashParts;
use ring::{hmac, rand::SystemRandom};
use tokio::{
    sync::Notify,
    task::spawn_blocking,
    time::{sleep_until, timeout},
};

use super::turns::{Turn, Turns};
use crate::{lock::lock, web::client::Client};

/// A verification that waits for another one looks again after this time: nothing says that the other
/// one could begin.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Digests that are remembered of each kind: many more than there are users.
const MAX_REMEMBERED: usize = 1024;

/// A user's name and a password.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    user: String,
    password: String,
}

/// The outcome of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Verified {
    /// They are those of a user.
    Right,
    /// They are not.
    Wrong,
    /// Too many of this client wait to be verified.
    TooMany,
}

/// The users, and digests of credentials that were verified.
#[derive(Debug)]
pub(super) struct Passwords {
    users: BTreeMap<String, String>,
    /// The hash that takes longest to verify; `None` without users.
    dearest: Option<(u32, String)>,
    /// `None` where the system has no random numbers: nothing is remembered then.
    key: Option<hmac::Key>,
    remembered: Mutex<Remembered>,
    turns: Mutex<Turns>,
    /// Wakes those that wait for their turn.
    ended: Notify,
}

#[derive(Debug, Default)]
struct Remembered {
    right: HashSet<Vec<u8>>,
    wrong: HashSet<Vec<u8>>,
}

/// A place in the queue, until this is dropped.
struct Ticket<'a> {
    passwords: &'a Passwords,
    number: u64,
}

impl Passwords {
    pub(super) fn new(users: BTreeMap<String, String>) -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok();
        let costs = users.values().map(|hash| (cost(hash), hash.clone()));
        Self {
            dearest: costs.max(),
            users,
            key,
            remembered: Mutex::default(),
            turns: Mutex::default(),
            ended: Notify::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether the credentials, which this client has sent, are those of a user.
    pub(super) async fn check(
        self: &Arc<Self>,
        credentials: Credentials,
        client: Client,
    ) -> Verified {
        if let Some(known) = self.recall(&credentials) {
            return known;
        }
        let Some(number) = lock(&self.turns).enter(client) else { return Verified::TooMany };
        if let Some(known) = self.wait(Ticket { passwords: self, number }, &credentials).await {
            return known;
        }
        let passwords = Arc::clone(self);
        // It goes on if the client goes away, and so must the turn.
        let verified = spawn_blocking(move || {
            let began = Instant::now();
            let is_right = passwords.compare(&credentials);
            lock(&passwords.turns).end(client, is_right, began.elapsed(), Instant::now());
            passwords.ended.notify_waiters();
            is_right
        });
        if verified.await.unwrap_or(false) { Verified::Right } else { Verified::Wrong }
    }

    /// Waits for the turn of a ticket. Another request may have verified the same credentials
    /// meanwhile: its result is returned then, and the turn not taken.
    async fn wait(&self, ticket: Ticket<'_>, credentials: &Credentials) -> Option<Verified> {
        loop {
            let ended = self.ended.notified();
            if let Some(known) = self.recall(credentials) {
                return Some(known);
            }
            let turn = lock(&self.turns).begin(ticket.number, Instant::now());
            match turn {
                Turn::Begun => return None,
                Turn::At(at) => {
                    tokio::select! {
                        () = sleep_until(at.into()) => {}
                        () = ended => {}
                    }
                }
                Turn::AfterAnother => {
                    let _ = timeout(LOOK_AGAIN, ended).await;
                }
            }
        }
    }

    /// The outcome of an earlier verification of the same credentials.
    fn recall(&self, credentials: &Credentials) -> Option<Verified> {
        let digest = self.digest(credentials)?;
        let remembered = lock(&self.remembered);
        if remembered.right.contains(&digest) {
            return Some(Verified::Right);
        }
        remembered.wrong.contains(&digest).then_some(Verified::Wrong)
    }

    fn compare(&self, credentials: &Credentials) -> bool {
        let Some((highest, dearest)) = &self.dearest else { return false };
        let hash = self.users.get(&credentials.user);
        let compared = hash.unwrap_or(dearest);
        let is_equal = bcrypt::verify(&credentials.password, compared).unwrap_or(false);
        // Each step costs twice the one before: together they make up for a cheaper hash.
        for step in cost(compared)..*highest {
            let _ = bcrypt::hash_with_salt(&credentials.password, step, [0; 16]);
        }
        let is_right = is_equal && hash.is_some();
        self.remember(credentials, is_right);
        is_right
    }

    fn remember(&self, credentials: &Credentials, is_right: bool) {
        let Some(digest) = self.digest(credentials) else { return };
        let mut remembered = lock(&self.remembered);
        let digests = if is_right { &mut remembered.right } else { &mut remembered.wrong };
        if digests.len() >= MAX_REMEMBERED {
            digests.clear();
        }
        digests.insert(digest);
    }

    fn digest(&self, credentials: &Credentials) -> Option<Vec<u8>> {
        let mut digest = hmac::Context::with_key(self.key.as_ref()?);
        // The length separates the name from the password.
        digest.update(&(credentials.user.len() as u64).to_le_bytes());
        digest.update(credentials.user.as_bytes());
        digest.update(credentials.password.as_bytes());
        Some(digest.sign().as_ref().to_vec())
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        // It may have been the one that others wait for.
        lock(&self.passwords.turns).leave(self.number);
        self.passwords.ended.notify_waiters();
    }
}

/// The cost of a hash; the file has been checked.
fn cost(hash: &str) -> u32 {
    HashParts::from_str(hash).map_or(0, |parts| parts.get_cost())
}

/// The name and the password in the only `Authorization` of a request.
pub(super) fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some(Credentials { user: user.to_owned(), password: password.to_owned() })
}
