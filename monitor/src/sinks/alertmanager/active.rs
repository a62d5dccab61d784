//! The alerts that are active, and when Alertmanager is to be told of them. It reads no clock but for
//! what it is given.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::alert::{Alert, AlertName, Labels, annotations};
use crate::event::Event;

/// Alerts at once: as many ports as nobody has bound by hand.
pub(super) const CAPACITY: usize = 1024;

/// How often an active alert is told again.
const REPEAT_PERIOD: Duration = Duration::from_secs(60);

/// How long an alert lasts that is not told again, as when the agent has gone: four times as long,
/// as Prometheus has it, and less than Alertmanager's own `resolve_timeout`.
const LASTS: Duration = Duration::from_secs(240);

/// How long an alert lasts at least. Who binds a port for a moment is to be heard of, though
/// Alertmanager waits for others before it tells anybody (`group_wait`); and a state lasts as long.
const LASTS_AT_LEAST: Duration = Duration::from_secs(300);

/// How long the end of an alert is told of to one that does not listen.
const GIVE_UP_AFTER: Duration = Duration::from_secs(600);

/// Which alert it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    name: AlertName,
    port: u16,
    protocol: Option<&'static str>,
}

#[derive(Debug, Default)]
pub(super) struct Active(BTreeMap<Key, Entry>);

#[derive(Debug)]
struct Entry {
    labels: BTreeMap<String, String>,
    /// Of the last event.
    annotations: BTreeMap<&'static str, String>,
    starts_at: Timestamp,
    raised_at: Instant,
    told_at: Option<Instant>,
    /// Events that Alertmanager has not been told of.
    untold: u64,
    ended_at: Option<(Instant, Timestamp)>,
}

impl Active {
    /// Takes in an event; `false` if there is no room for its alert.
    pub(super) fn raise(&mut self, event: &Event, labels: &Labels, now: Instant) -> bool {
        let port = event.socket().and_then(|socket| socket.local_port);
        let (Some(name), Some(port)) = (AlertName::of(event), port) else { return true };
        let key = Key { name, port, protocol: name.protocol(event) };
        if self.0.len() >= CAPACITY && !self.0.contains_key(&key) {
            return false;
        }
        let entry = self.0.entry(key).or_insert_with(|| Entry {
            labels: labels.of(name, event),
            annotations: BTreeMap::new(),
            starts_at: event.time,
            raised_at: now,
            told_at: None,
            untold: 0,
            ended_at: None,
        });
        if entry.ended_at.take().is_some() {
            entry.starts_at = event.time;
        }
        entry.annotations = annotations(name, event);
        entry.raised_at = now;
        entry.told_at = None;
        entry.untold += 1;
        true
    }

    /// Ends the alerts of ports at which nothing goes on any more.
    pub(super) fn end_quiet(&mut self, is_awake: impl Fn(u16) -> bool, now: Instant) {
        for (key, entry) in &mut self.0 {
            let is_over = now.duration_since(entry.raised_at) >= LASTS_AT_LEAST;
            if entry.ended_at.is_none() && is_over && !is_awake(key.port) {
                entry.ended_at = Some((now, Timestamp::now()));
                entry.told_at = None;
            }
        }
    }

    /// When Alertmanager is to be told next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.values().map(Entry::due_at).min()
    }

    /// The alerts that Alertmanager is to be told of now, those that are new first.
    pub(super) fn due(&self, now: Instant) -> Vec<Key> {
        let due = self.0.iter().filter(|(_, entry)| entry.due_at() <= now);
        let mut due: Vec<(bool, Key)> = due.map(|(key, entry)| (entry.untold == 0, *key)).collect();
        due.sort_unstable();
        due.into_iter().map(|(_, key)| key).collect()
    }

    /// These alerts as they are told at the time `now`.
    pub(super) fn alerts(&self, keys: &[Key], now: Timestamp) -> Vec<Alert> {
        let entries = keys.iter().filter_map(|key| self.0.get(key));
        entries.map(|entry| entry.alert(now)).collect()
    }

    /// Alertmanager has taken these. Returns how many events it learned of.
    pub(super) fn told(&mut self, keys: &[Key], now: Instant) -> u64 {
        let mut events = 0;
        for key in keys {
            let Some(entry) = self.0.get_mut(key) else { continue };
            events += std::mem::take(&mut entry.untold);
            entry.told_at = Some(now);
            if entry.ended_at.is_some() {
                self.0.remove(key);
            }
        }
        events
    }

    /// Forgets these. Returns how many events were not told.
    pub(super) fn forget(&mut self, keys: &[Key]) -> u64 {
        keys.iter().filter_map(|key| self.0.remove(key)).map(|entry| entry.untold).sum()
    }

    /// Forgets alerts that have been over for long. Returns how many events were not told.
    pub(super) fn give_up(&mut self, now: Instant) -> u64 {
        let is_past = |entry: &Entry| {
            entry.ended_at.is_some_and(|(at, _)| now.duration_since(at) >= GIVE_UP_AFTER)
        };
        let past: Vec<Key> =
            self.0.iter().filter(|(_, entry)| is_past(entry)).map(|(key, _)| *key).collect();
        self.forget(&past)
    }

    /// Events that Alertmanager has not been told of.
    pub(super) fn untold(&self) -> u64 {
        self.0.values().map(|entry| entry.untold).sum()
    }
}

impl Entry {
    fn due_at(&self) -> Instant {
        self.told_at.map_or(self.raised_at, |told_at| told_at + REPEAT_PERIOD)
    }

    fn alert(&self, now: Timestamp) -> Alert {
        let lasts_until = now.checked_add(LASTS).unwrap_or(Timestamp::MAX);
        Alert {
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            starts_at: self.starts_at,
            ends_at: self.ended_at.map_or(lasts_until, |(_, at)| at),
        }
    }
}
