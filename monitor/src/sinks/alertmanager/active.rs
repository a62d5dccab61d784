//! The active alerts, and when each has to be sent.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::alert::{Alert, AlertName, Labels, annotations};
use crate::event::Event;

/// Active alerts at most: more ports than are bound by hand.
pub(super) const CAPACITY: usize = 1024;

/// How often an active alert is sent.
const REPEAT_PERIOD: Duration = Duration::from_secs(60);

/// How long an alert lasts that is not sent again, for example because the agent was stopped: four
/// periods, as in Prometheus, and less than the `resolve_timeout` of Alertmanager.
const LASTS: Duration = Duration::from_secs(240);

/// How long an alert lasts at least. A bind of a moment has to be notified, although Alertmanager
/// waits for other alerts first (`group_wait`). The state of a port lasts as long.
const LASTS_AT_LEAST: Duration = Duration::from_secs(300);

/// How long the end of an alert is sent to an Alertmanager that does not accept it.
const GIVE_UP_AFTER: Duration = Duration::from_secs(600);

/// Identity of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    name: AlertName,
    port: Option<u16>,
    protocol: Option<&'static str>,
}

#[derive(Debug, Default)]
pub(super) struct Active(BTreeMap<Key, Entry>);

#[derive(Debug)]
struct Entry {
    labels: BTreeMap<String, String>,
    /// Annotations of the last event.
    annotations: BTreeMap<&'static str, String>,
    starts_at: Timestamp,
    raised_at: Instant,
    sent_at: Option<Instant>,
    /// Events that were not sent to Alertmanager yet.
    unsent: u64,
    ended_at: Option<(Instant, Timestamp)>,
}

impl Active {
    /// Raises the alert of an event; `false` if there is no room for it.
    pub(super) fn raise(&mut self, event: &Event, labels: &Labels, now: Instant) -> bool {
        let Some(name) = AlertName::of(event) else { return true };
        let key = Key { name, port: event.port(), protocol: name.protocol(event) };
        if self.0.len() >= CAPACITY && !self.0.contains_key(&key) {
            return false;
        }
        let entry = self.0.entry(key).or_insert_with(|| Entry {
            labels: labels.of(name, event),
            annotations: BTreeMap::new(),
            starts_at: event.time,
            raised_at: now,
            sent_at: None,
            unsent: 0,
            ended_at: None,
        });
        if entry.ended_at.take().is_some() {
            entry.starts_at = event.time;
        }
        entry.annotations = annotations(name, event);
        entry.raised_at = now;
        entry.sent_at = None;
        entry.unsent += 1;
        true
    }

    /// Ends the alerts of ports that are quiet.
    pub(super) fn end_quiet(&mut self, is_awake: impl Fn(u16) -> bool, now: Instant) {
        for (key, entry) in &mut self.0 {
            let is_over = now.duration_since(entry.raised_at) >= LASTS_AT_LEAST;
            if entry.ended_at.is_none() && is_over && !key.port.is_some_and(&is_awake) {
                entry.ended_at = Some((now, Timestamp::now()));
                entry.sent_at = None;
            }
        }
    }

    /// When the next alert has to be sent.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.values().map(Entry::due_at).min()
    }

    /// The alerts that have to be sent now, those with new events first.
    pub(super) fn due(&self, now: Instant) -> Vec<Key> {
        let due = self.0.iter().filter(|(_, entry)| entry.due_at() <= now);
        let mut due: Vec<(bool, Key)> = due.map(|(key, entry)| (entry.unsent == 0, *key)).collect();
        due.sort_unstable();
        due.into_iter().map(|(_, key)| key).collect()
    }

    /// These alerts as they are sent at the time `now`.
    pub(super) fn alerts(&self, keys: &[Key], now: Timestamp) -> Vec<Alert> {
        let entries = keys.iter().filter_map(|key| self.0.get(key));
        entries.map(|entry| entry.alert(now)).collect()
    }

    /// Alertmanager accepted these alerts. Returns how many new events they had.
    pub(super) fn sent(&mut self, keys: &[Key], now: Instant) -> u64 {
        let mut events = 0;
        for key in keys {
            let Some(entry) = self.0.get_mut(key) else { continue };
            events += std::mem::take(&mut entry.unsent);
            entry.sent_at = Some(now);
            if entry.ended_at.is_some() {
                self.0.remove(key);
            }
        }
        events
    }

    /// Removes these alerts. Returns how many of their events were not sent.
    pub(super) fn forget(&mut self, keys: &[Key]) -> u64 {
        keys.iter().filter_map(|key| self.0.remove(key)).map(|entry| entry.unsent).sum()
    }

    /// Removes alerts that ended long ago. Returns how many of their events were not sent.
    pub(super) fn give_up(&mut self, now: Instant) -> u64 {
        let is_past = |entry: &Entry| {
            entry.ended_at.is_some_and(|(at, _)| now.duration_since(at) >= GIVE_UP_AFTER)
        };
        let past: Vec<Key> =
            self.0.iter().filter(|(_, entry)| is_past(entry)).map(|(key, _)| *key).collect();
        self.forget(&past)
    }

    /// Events that were not sent to Alertmanager yet.
    pub(super) fn unsent(&self) -> u64 {
        self.0.values().map(|entry| entry.unsent).sum()
    }
}

impl Entry {
    fn due_at(&self) -> Instant {
        self.sent_at.map_or(self.raised_at, |sent_at| sent_at + REPEAT_PERIOD)
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
