//! The active alerts, and when each has to be sent.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    alert::{Alert, AlertName, Annotations, Key, Labels},
    annotations::{annotations, evidence, is_same_story, names, of_process, with_process},
    usage::Usage,
};
use crate::event::{Event, EventBody, ExecutableFound};

/// Active alerts at most: more ports than are bound by hand.
pub(super) const CAPACITY: usize = 1024;

/// How often an active alert is sent.
const REPEAT_PERIOD: Duration = Duration::from_secs(60);

/// How long an alert lasts that is not sent again. An agent that is started again within this time
/// continues it, and Prometheus' alerts about events, which last five minutes without an agent, end
/// before it.
const LASTS: Duration = Duration::from_secs(600);

/// How long the port has to be free before the alert ends. Prometheus' alerts about the same end
/// four minutes after that at the latest (dashboards/prometheus/alerts.yml), and an evaluation and a
/// `group_interval` later Alertmanager has forgotten them: ended before this alert, they are never
/// notified. A bind of a moment is notified although Alertmanager waits for other alerts first
/// (`group_wait`).
const FREE_FOR: Duration = Duration::from_secs(480);

/// How long the end of an alert is sent to an Alertmanager that does not accept it.
const GIVE_UP_AFTER: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct Active {
    entries: BTreeMap<Key, Entry>,
    labels: Labels,
    /// How long a new event waits for others that belong to the same alert.
    linger: Duration,
}

#[derive(Debug)]
struct Entry {
    annotations: Annotations,
    starts_at: Timestamp,
    raised_at: Instant,
    sent_at: Option<Instant>,
    /// Whether Alertmanager has it.
    is_known: bool,
    /// Events that were not sent to Alertmanager yet.
    unsent: u64,
    /// Since when nothing keeps it active.
    free_since: Option<Instant>,
    ended_at: Option<(Instant, Timestamp)>,
}

impl Active {
    pub(super) const fn new(labels: Labels, linger: Duration) -> Self {
        Self { entries: BTreeMap::new(), labels, linger }
    }

    pub(super) const fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Raises the alert of an event; `false` if there is no room for it.
    pub(super) fn raise(&mut self, event: &Event, now: Instant) -> bool {
        if let EventBody::Executable(found) = &event.body {
            self.complete(found, now);
            return true;
        }
        let Some(key) = Key::of(event) else { return true };
        let mut annotations = annotations(key.name, event, &self.labels);
        if let Some((other, entry)) = self.same_story(key, &annotations) {
            if entry.is_known || key.name != AlertName::BindOnDormantPort {
                entry.annotations.extend(of_process(annotations));
                entry.raise(now);
                return true;
            }
            // The awakening says more, and Alertmanager does not know the other one yet.
            let mut entry = std::mem::replace(entry, Entry::new(event.time, now));
            self.entries.remove(&other);
            annotations = with_process(annotations, std::mem::take(&mut entry.annotations));
            self.entries.entry(key).or_insert(entry);
        }
        if self.entries.len() >= CAPACITY && !self.entries.contains_key(&key) {
            return false;
        }
        let entry = self.entries.entry(key).or_insert_with(|| Entry::new(event.time, now));
        if entry.ended_at.is_some() {
            entry.starts_at = event.time;
        }
        entry.annotations = annotations;
        entry.raise(now);
        true
    }

    /// Adds what was found out about an executable to the alerts that are about its process.
    fn complete(&mut self, found: &ExecutableFound, now: Instant) {
        let evidence = evidence(found);
        let is_of_process = |entry: &&mut Entry| names(&entry.annotations, found.process.pid);
        for entry in self.entries.values_mut().filter(is_of_process) {
            let before = entry.annotations.len();
            entry.annotations.extend(evidence.clone());
            if entry.annotations.len() != before && entry.ended_at.is_none() {
                entry.raised_at = now;
                entry.sent_at = None;
            }
        }
    }

    /// The other alert that is about the same bind: a bind on a dormant port makes two events, and
    /// one message.
    fn same_story(&mut self, key: Key, annotations: &Annotations) -> Option<(Key, &mut Entry)> {
        let is_it = |(other, entry): &(&Key, &mut Entry)| {
            let both = key.name.is_about_bind() && other.name.is_about_bind();
            both && **other != key
                && other.port == key.port
                && entry.ended_at.is_none()
                && is_same_story(&entry.annotations, annotations)
        };
        self.entries.iter_mut().find(is_it).map(|(other, entry)| (*other, entry))
    }

    /// Continues an alert that Alertmanager has from an earlier agent.
    pub(super) fn adopt(&mut self, alert: Alert, now: Instant) {
        let Some(key) = Key::from_labels(&alert.labels) else { return };
        if self.entries.len() >= CAPACITY || self.labels.of(key) != alert.labels {
            return;
        }
        let entry = self.entries.entry(key).or_insert_with(|| Entry {
            annotations: alert.annotations,
            is_known: true,
            ..Entry::new(alert.starts_at, now)
        });
        entry.starts_at = entry.starts_at.min(alert.starts_at);
    }

    /// Ends the alerts that nothing has kept active for long enough.
    pub(super) fn end_free(&mut self, is_in_use: impl Fn(Usage) -> bool, now: Instant) {
        for (key, entry) in &mut self.entries {
            if key.usage().is_some_and(&is_in_use) {
                entry.free_since = None;
                continue;
            }
            let since = *entry.free_since.get_or_insert(now);
            if entry.ended_at.is_none() && now.duration_since(since) >= FREE_FOR {
                entry.ended_at = Some((now, Timestamp::now()));
                entry.sent_at = None;
            }
        }
    }

    /// When the next alert has to be sent.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.entries.values().map(|entry| entry.due_at(self.linger)).min()
    }

    /// The alerts that have to be sent now, those with new events first. The last ones of all do not
    /// wait for others.
    pub(super) fn due(&self, now: Instant, is_last: bool) -> Vec<Key> {
        let linger = if is_last { Duration::ZERO } else { self.linger };
        let due = self.entries.iter().filter(|(_, entry)| entry.due_at(linger) <= now);
        let mut due: Vec<(bool, Key)> = due.map(|(key, entry)| (entry.unsent == 0, *key)).collect();
        due.sort_unstable();
        due.into_iter().map(|(_, key)| key).collect()
    }

    /// These alerts as they are sent at the time `now`.
    pub(super) fn alerts(&self, keys: &[Key], now: Timestamp) -> Vec<Alert> {
        let entries = keys.iter().filter_map(|key| Some((*key, self.entries.get(key)?)));
        entries.map(|(key, entry)| entry.alert(self.labels.of(key), now)).collect()
    }

    /// Alertmanager accepted these alerts. Returns how many new events they had.
    pub(super) fn sent(&mut self, keys: &[Key], now: Instant) -> u64 {
        let mut events = 0;
        for key in keys {
            let Some(entry) = self.entries.get_mut(key) else { continue };
            events += std::mem::take(&mut entry.unsent);
            entry.sent_at = Some(now);
            entry.is_known = true;
            if entry.ended_at.is_some() {
                self.entries.remove(key);
            }
        }
        events
    }

    /// Removes these alerts. Returns how many of their events were not sent.
    pub(super) fn forget(&mut self, keys: &[Key]) -> u64 {
        keys.iter().filter_map(|key| self.entries.remove(key)).map(|entry| entry.unsent).sum()
    }

    /// Removes alerts that ended long ago. Returns how many of their events were not sent.
    pub(super) fn give_up(&mut self, now: Instant) -> u64 {
        let is_past = |entry: &Entry| {
            entry.ended_at.is_some_and(|(at, _)| now.duration_since(at) >= GIVE_UP_AFTER)
        };
        let past: Vec<Key> =
            self.entries.iter().filter(|(_, entry)| is_past(entry)).map(|(key, _)| *key).collect();
        self.forget(&past)
    }

    /// Events that were not sent to Alertmanager yet.
    pub(super) fn unsent(&self) -> u64 {
        self.entries.values().map(|entry| entry.unsent).sum()
    }
}

impl Entry {
    /// An alert without events.
    const fn new(starts_at: Timestamp, now: Instant) -> Self {
        Self {
            annotations: Annotations::new(),
            starts_at,
            raised_at: now,
            sent_at: None,
            is_known: false,
            unsent: 0,
            free_since: None,
            ended_at: None,
        }
    }

    /// Something has happened.
    const fn raise(&mut self, now: Instant) {
        self.raised_at = now;
        self.sent_at = None;
        self.unsent += 1;
        self.free_since = None;
        self.ended_at = None;
    }

    fn due_at(&self, linger: Duration) -> Instant {
        match self.sent_at {
            Some(sent_at) => sent_at + REPEAT_PERIOD,
            // An end is sent at once.
            None if self.ended_at.is_some() => self.raised_at,
            None => self.raised_at + linger,
        }
    }

    fn alert(&self, labels: BTreeMap<String, String>, now: Timestamp) -> Alert {
        let lasts_until = now.checked_add(LASTS).unwrap_or(Timestamp::MAX);
        Alert {
            labels,
            annotations: self.annotations.clone(),
            starts_at: self.starts_at,
            ends_at: self.ended_at.map_or(lasts_until, |(_, at)| at),
        }
    }
}
