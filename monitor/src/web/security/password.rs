//! Basic authentication, RFC 7617, against bcrypt hashes.
//!
//! bcrypt is slow by design, and a scrape must not be: credentials that were verified once are
//! remembered as a keyed digest until the file changes. Others are verified on a blocking thread, one
//! at a time, so that wrong passwords occupy one CPU at most and never the agent's runtime.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use axum::http::{HeaderMap, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{hmac, rand::SystemRandom};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// Digests that are remembered: many more than there are users.
const MAX_REMEMBERED: usize = 1024;

/// A user's name and a password.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    user: String,
    password: String,
}

/// The users, and digests of credentials that were verified.
#[derive(Debug)]
pub(super) struct Passwords {
    users: BTreeMap<String, String>,
    /// `None` where the system has no random numbers: nothing is remembered then.
    key: Option<hmac::Key>,
    remembered: Mutex<HashSet<Vec<u8>>>,
    turn: Semaphore,
}

impl Passwords {
    pub(super) fn new(users: BTreeMap<String, String>) -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok();
        Self { users, key, remembered: Mutex::default(), turn: Semaphore::new(1) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    fn remembers(&self, credentials: &Credentials) -> bool {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        self.digest(credentials).is_some_and(|digest| remembered.contains(&digest))
    }

    /// Whether the credentials are those of a user.
    pub(super) async fn check(self: &Arc<Self>, credentials: Credentials) -> bool {
        if self.remembers(&credentials) {
            return true;
        }
        let Ok(_turn) = self.turn.acquire().await else { return false };
        // Another request may have verified the same credentials meanwhile.
        if self.remembers(&credentials) {
            return true;
        }
        let passwords = Arc::clone(self);
        spawn_blocking(move || passwords.compare(&credentials)).await.unwrap_or(false)
    }

    fn compare(&self, credentials: &Credentials) -> bool {
        let hash = self.users.get(&credentials.user);
        // For an unknown user it takes as long, so that the time does not reveal which users exist.
        let Some(compared) = hash.or_else(|| self.users.values().next()) else { return false };
        let is_equal = bcrypt::verify(&credentials.password, compared).unwrap_or(false);
        let is_right = is_equal && hash.is_some();
        if is_right {
            self.remember(credentials);
        }
        is_right
    }

    fn remember(&self, credentials: &Credentials) {
        let Some(digest) = self.digest(credentials) else { return };
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(digest);
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
