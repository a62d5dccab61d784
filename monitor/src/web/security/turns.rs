//! In which order credentials are verified, and when. No I/O, no clock.
//!
//! One verification runs at a time. After wrong credentials it rests for a multiple of what they cost,
//! and the client that sent them waits: longer after each failure, and never beyond a bound, so that
//! right ones that come from the same address get their turn. Clients with fewer failures are first.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use crate::web::client::Client;

/// Verifications of one client that may wait.
const MAX_WAITING: usize = 8;

/// How long a client waits after its first failure; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How many times as long as a failed verification took none begins: wrong passwords take a quarter of
/// a CPU at most.
const REST_FACTOR: u32 = 3;
const LONGEST_REST: Duration = Duration::from_secs(3);

/// Clients whose failures are remembered, and how long.
const MAX_CLIENTS: usize = 1024;
const MEMORY: Duration = Duration::from_secs(600);

/// Verifications that wait, and the failures of clients.
#[derive(Debug, Default)]
pub(super) struct Turns {
    next_ticket: u64,
    waiting: BTreeMap<u64, Client>,
    failures: HashMap<Client, Failures>,
    is_busy: bool,
    rests_until: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

/// Whether a verification may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has begun.
    Begun,
    /// Not before this time.
    At(Instant),
    /// Not before another one has ended.
    AfterAnother,
}

impl Failures {
    fn pauses_until(self) -> Instant {
        let doubled = 1u32.checked_shl(self.count.saturating_sub(1)).unwrap_or(u32::MAX);
        self.last + FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)
    }
}

impl Turns {
    /// A ticket for a verification; `None` if too many of this client wait.
    pub(super) fn enter(&mut self, client: Client) -> Option<u64> {
        let waiting = self.waiting.values().filter(|waiting| **waiting == client).count();
        if waiting >= MAX_WAITING {
            return None;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.insert(ticket, client);
        Some(ticket)
    }

    /// Gives up a ticket.
    pub(super) fn leave(&mut self, ticket: u64) {
        self.waiting.remove(&ticket);
    }

    /// Begins the verification of a ticket if it is its turn.
    pub(super) fn begin(&mut self, ticket: u64, now: Instant) -> Turn {
        let Some(client) = self.waiting.get(&ticket).copied() else { return Turn::AfterAnother };
        if self.is_busy {
            return Turn::AfterAnother;
        }
        let earliest = self.rests_until.max(self.pauses_until(client)).filter(|at| *at > now);
        if let Some(at) = earliest {
            return Turn::At(at);
        }
        let may_begin = |client: Client| self.pauses_until(client).is_none_or(|at| at <= now);
        let rank = |ticket: u64, client: Client| (self.count(client), ticket);
        let own = rank(ticket, client);
        let mut others = self.waiting.iter().map(|(ticket, client)| (*ticket, *client));
        if others.any(|(ticket, client)| may_begin(client) && rank(ticket, client) < own) {
            return Turn::AfterAnother;
        }
        self.waiting.remove(&ticket);
        self.is_busy = true;
        Turn::Begun
    }

    /// The verification that was begun for this client has ended.
    pub(super) fn end(&mut self, client: Client, is_right: bool, took: Duration, now: Instant) {
        self.is_busy = false;
        if is_right {
            self.failures.remove(&client);
            return;
        }
        self.rests_until = Some(now + (took * REST_FACTOR).min(LONGEST_REST));
        self.failures.retain(|_, failures| now.duration_since(failures.last) < MEMORY);
        if self.failures.len() >= MAX_CLIENTS
            && let Some(oldest) = self.failures.iter().min_by_key(|(_, f)| f.last).map(|(c, _)| *c)
        {
            self.failures.remove(&oldest);
        }
        let failures = self.failures.entry(client).or_insert(Failures { count: 0, last: now });
        *failures = Failures { count: failures.count.saturating_add(1), last: now };
    }

    fn pauses_until(&self, client: Client) -> Option<Instant> {
        self.failures.get(&client).map(|failures| failures.pauses_until())
    }

    fn count(&self, client: Client) -> u32 {
        self.failures.get(&client).map_or(0, |failures| failures.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRONG: Client = Client::User(1);
    const RIGHT: Client = Client::User(2);
    const COST: Duration = Duration::from_millis(60);

    /// Lets `ticket` begin as soon as it may, and fail. Returns when it ended.
    fn fail(turns: &mut Turns, ticket: u64, mut now: Instant) -> Instant {
        while let Turn::At(at) = turns.begin(ticket, now) {
            now = at;
        }
        turns.end(WRONG, false, COST, now + COST);
        now + COST
    }

    #[test]
    fn wrong_credentials_take_a_quarter_of_a_cpu() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        let mut now = start;
        for _ in 0..100 {
            let ticket = turns.enter(WRONG).expect("room");
            now = fail(&mut turns, ticket, now);
        }
        assert!(now - start >= COST * 100 * 4 - COST * 4, "{:?}", now - start);
        let ticket = turns.enter(WRONG).expect("room");
        let Turn::At(at) = turns.begin(ticket, now) else { panic!("no pause") };
        assert_eq!(at, now + LONGEST_PAUSE);
    }

    #[test]
    fn a_client_without_failures_is_first() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        let ticket = turns.enter(WRONG).expect("room");
        let now = fail(&mut turns, ticket, start);
        let waiting: Vec<u64> = (0..MAX_WAITING).filter_map(|_| turns.enter(WRONG)).collect();
        assert_eq!(waiting.len(), MAX_WAITING);
        assert_eq!(turns.enter(WRONG), None, "no more of one client wait");
        let right = turns.enter(RIGHT).expect("room for another");
        let later = now + Duration::from_secs(1);
        assert_eq!(turns.begin(waiting[0], later), Turn::AfterAnother);
        assert_eq!(turns.begin(right, later), Turn::Begun);
        assert_eq!(turns.begin(waiting[0], later), Turn::AfterAnother, "one at a time");
        turns.end(RIGHT, true, COST, later);
        assert_eq!(turns.begin(waiting[1], later), Turn::AfterAnother, "first come, first served");
        assert_eq!(turns.begin(waiting[0], later), Turn::Begun);
    }

    #[test]
    fn right_credentials_end_the_pauses_of_a_client() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        let ticket = turns.enter(WRONG).expect("room");
        let now = fail(&mut turns, ticket, start) + Duration::from_secs(1);
        let ticket = turns.enter(WRONG).expect("room");
        assert_eq!(turns.begin(ticket, now), Turn::Begun);
        turns.end(WRONG, true, COST, now);
        let ticket = turns.enter(WRONG).expect("room");
        assert_eq!(turns.begin(ticket, now), Turn::Begun);
    }

    #[test]
    fn the_failures_of_a_thousand_clients_are_remembered() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        for number in 0..2000 {
            turns.end(Client::User(number), false, COST, now);
        }
        assert_eq!(turns.failures.len(), MAX_CLIENTS);
    }
}
