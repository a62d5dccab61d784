//! What the store has of binds and listeners, by program. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use monitor_ledger::listeners::{Entry, PortRecord, Program, Standing};
use serde::Deserialize;

use crate::event::EventName;

/// Kinds of events that are read.
pub(super) const KINDS: [EventName; 2] = [EventName::Bind, EventName::Summary];

/// Binds and listeners by program.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// Binds of watched ports.
    pub(super) binds: BTreeMap<(u16, Binder), Seen>,
    /// Listeners outside of the baseline, by the first and the last port.
    pub(super) listeners: BTreeMap<((u16, u16), Binder), Seen>,
}

/// A program that binds ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Binder {
    pub(super) executable: Option<String>,
    /// Whether the executable was deleted when it was seen.
    pub(super) is_deleted: bool,
    pub(super) unit: Option<String>,
    /// Name of the user, or its number.
    pub(super) user: Option<String>,
    pub(super) is_contained: bool,
}

/// How often something was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) times: u64,
    pub(super) last: Timestamp,
    /// Whether some of it was not expected at the time.
    pub(super) alarmed: bool,
}

/// The fields of an event that matter here.
#[derive(Debug, Deserialize)]
struct BindEvent {
    time: Timestamp,
    #[serde(rename = "ghostport.summary_of")]
    summary_of: Option<String>,
    #[serde(rename = "event.name")]
    name: String,
    #[serde(rename = "network.local.port")]
    port: Option<u16>,
    #[serde(rename = "ghostport.count")]
    count: Option<u64>,
    #[serde(rename = "ghostport.expected")]
    expected: Option<bool>,
    #[serde(rename = "process.executable.path")]
    executable: Option<String>,
    #[serde(rename = "ghostport.executable_deleted", default)]
    is_deleted: bool,
    #[serde(rename = "ghostport.systemd_unit")]
    unit: Option<String>,
    #[serde(rename = "process.linux.cgroup")]
    cgroup: Option<String>,
    #[serde(rename = "process.user.name")]
    user: Option<String>,
    #[serde(rename = "process.user.id")]
    user_id: Option<u32>,
    #[serde(rename = "container.id")]
    container: Option<String>,
}

impl Evidence {
    /// Adds a bind, or a sum of binds, as one line of JSON; ignores anything else.
    pub(super) fn add_event(&mut self, line: &str) {
        let Ok(event) = serde_json::from_str::<BindEvent>(line) else { return };
        let is_bind = event.name.ends_with(".bind") || event.summary_of.as_deref() == Some("bind");
        let (true, Some(port)) = (is_bind, event.port) else { return };
        // A unit of a user's own service manager is named as the user likes.
        let is_users = event.cgroup.as_deref().is_some_and(|path| path.contains("/user@"));
        let binder = Binder {
            executable: event.executable,
            is_deleted: event.is_deleted,
            unit: event.unit.filter(|_| !is_users),
            user: event.user.or(event.user_id.map(|id| id.to_string())),
            is_contained: event.container.is_some(),
        };
        let seen = Seen {
            times: event.count.unwrap_or(1),
            last: event.time,
            alarmed: event.expected != Some(true),
        };
        add(&mut self.binds, (port, binder), seen);
    }

    /// Adds an entry of the ledger that was seen since `begin` and is not in the baseline.
    pub(super) fn add_listener(&mut self, entry: Entry, begin: Timestamp) {
        if entry.standing == Standing::Learned {
            return;
        }
        let Entry { ports, program, first, .. } = entry;
        let binder = Binder::from(program);
        for (port, record) in ports.single {
            let PortRecord { last_opened: last, times, .. } = record;
            if last >= begin {
                let seen = Seen { times, last, alarmed: true };
                add(&mut self.listeners, ((port, port), binder.clone()), seen);
            }
        }
        if let Some(range) = ports.range {
            add(
                &mut self.listeners,
                (range, binder),
                Seen { times: 1, last: first, alarmed: true },
            );
        }
    }
}

fn add<K: Ord>(all: &mut BTreeMap<K, Seen>, key: K, new: Seen) {
    let seen = all.entry(key).or_insert(Seen { times: 0, alarmed: false, ..new });
    seen.times += new.times;
    seen.last = seen.last.max(new.last);
    seen.alarmed |= new.alarmed;
}

impl From<Program> for Binder {
    fn from(program: Program) -> Self {
        let Program { executable, unit, user, container } = program;
        Self { executable, is_deleted: false, unit, user, is_contained: container.is_some() }
    }
}
