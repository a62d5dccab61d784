//! Processes whose executables are being looked at, for the pipeline.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use crate::{
    event::{Event, SocketFields},
    process::{Identity, Inspected, Inspector},
};

/// Processes that wait at most, for events and for judgements.
const CAPACITY: usize = 512;

/// Processes of which an event was emitted, that are remembered at most.
const REPORTED: usize = 4096;

/// After this time the outcome of a look is not waited for. It takes twenty seconds at most, unless the
/// queue of the pipeline had no room for it.
const LONGEST: Duration = Duration::from_secs(25);

/// What waits for looks at executables.
#[derive(Debug, Default)]
pub(super) struct EvidenceWatch {
    asked: HashMap<Inspected, Asked>,
    awaiting: Vec<Awaiting>,
    /// Paths of executables of which there was an event.
    reported: HashMap<Inspected, String>,
    /// Processes and the ports that they bound, which turned out to be unexpected.
    misjudged: HashSet<(Inspected, u16)>,
}

/// An event that was emitted of a process.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) process: Identity,
    pub(super) socket: SocketFields,
    pub(super) port: Option<u16>,
    at: Instant,
}

/// A bind that cannot be judged yet.
#[derive(Debug)]
pub(super) struct Awaiting {
    pub(super) key: Inspected,
    pub(super) process: Identity,
    pub(super) port: u16,
    /// Its event.
    pub(super) event: Event,
    at: Instant,
}

impl EvidenceWatch {
    /// Whether an event about the executable of a process is to be emitted: there was none yet.
    pub(super) fn wants_event(&self, key: Inspected, process: &Identity) -> bool {
        let path = path(process);
        self.reported.get(&key).map(String::as_str) != Some(path)
    }

    /// Notes that an event about the executable of a process waits for a look.
    pub(super) fn expect(&mut self, key: Inspected, process: &Identity, event: &Event) {
        if self.asked.len() < CAPACITY {
            let (socket, port) = (socket(event), event.port());
            let process = process.clone();
            self.asked.entry(key).or_insert(Asked { process, socket, port, at: Instant::now() });
        }
    }

    /// The event that waits for a look at a process.
    pub(super) fn take(&mut self, key: Inspected) -> Option<Asked> {
        self.asked.remove(&key)
    }

    /// Notes that an event about the executable of a process was emitted.
    pub(super) fn reported(&mut self, key: Inspected, process: &Identity) {
        if self.reported.len() >= REPORTED {
            self.reported.clear();
        }
        self.reported.insert(key, path(process).to_owned());
    }

    /// Notes that a process that bound a port turned out to be unexpected, and was reported as such.
    pub(super) fn misjudged(&mut self, key: Inspected, port: u16) {
        if self.misjudged.len() >= REPORTED {
            self.misjudged.clear();
        }
        self.misjudged.insert((key, port));
    }

    /// Whether a process that holds a port was reported after it had been judged.
    pub(super) fn was_misjudged(&self, process: &Identity, port: u16) -> bool {
        Inspector::key(process).is_some_and(|key| self.misjudged.contains(&(key, port)))
    }

    /// Notes a bind that waits to be judged; `false` if too many do.
    pub(super) fn await_judgement(
        &mut self,
        key: Inspected,
        process: &Identity,
        event: &Event,
    ) -> bool {
        let Some(port) = event.port() else { return true };
        let has_room = self.awaiting.len() < CAPACITY;
        if has_room {
            self.awaiting.push(Awaiting {
                key,
                process: process.clone(),
                port,
                event: event.clone(),
                at: Instant::now(),
            });
        }
        has_room
    }

    /// The binds of a process that wait.
    pub(super) fn awaiting(&mut self, key: Inspected) -> Vec<Awaiting> {
        self.awaiting.extract_if(.., |waiting| waiting.key == key).collect()
    }

    /// The binds that have waited too long. Events that have are forgotten.
    pub(super) fn overdue(&mut self) -> Vec<Awaiting> {
        self.asked.retain(|_, asked| asked.at.elapsed() < LONGEST);
        self.awaiting.extract_if(.., |waiting| waiting.at.elapsed() >= LONGEST).collect()
    }
}

fn path(process: &Identity) -> &str {
    process.executable.as_ref().map_or("", |executable| &executable.path)
}

/// The ends of the socket of an event.
fn socket(event: &Event) -> SocketFields {
    let known = event.socket().cloned().unwrap_or(SocketFields::unknown());
    SocketFields { interface: None, is_v6_only: None, is_of_kernel: false, ..known }
}
