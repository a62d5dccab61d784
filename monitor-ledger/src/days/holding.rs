//! Who held a port, since when and until when.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use monitor_common::flow::Protocol;
use serde::{Deserialize, Serialize};

use super::record::{EXECUTABLE_LEN, NAME_LEN, cut};

/// Holders of one port that calls alone have shown at most, until a scan finds them: a program that
/// makes processes which bind in a loop shall not fill the memory.
const MOST_UNSCANNED: usize = 64;

/// Holders a day that are kept at most.
const MOST_A_DAY: u32 = 4096;

/// A process as it holds a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Holder {
    /// Process id; 0 for a socket of the kernel, or where no process may be seen.
    pub pid: u32,
    /// When the process was made, in clock ticks since the boot: a process id is used again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ticks: Option<u64>,
    /// Path of its executable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its effective user, by name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its systemd unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Its container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
}

/// How the beginning or the end of a holding is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// By the call: to the moment.
    Call,
    /// By two scans: it was between them, and has the time of the second.
    Scan,
    /// It was in a time without an agent; a beginning has the time of the scan after that, an end the
    /// time of the last look before.
    Gap,
}

/// One holder of a port, from its first socket there to its last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// The port.
    pub port: u16,
    /// Transport protocol, by its number in [`Protocol::ALL`].
    pub protocol: u8,
    /// Who.
    pub holder: Holder,
    /// When it began.
    pub since: Timestamp,
    /// How that is known.
    pub since_by: Known,
    /// When it ended; absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// How that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_by: Option<Known>,
}

impl Holding {
    /// The transport protocol.
    pub fn protocol(&self) -> Protocol {
        Protocol::ALL.get(usize::from(self.protocol)).copied().unwrap_or(Protocol::Tcp)
    }

    fn ended(self, at: Timestamp, by: Known) -> Self {
        Self { until: Some(at.max(self.since)), until_by: Some(by), ..self }
    }

    fn key(&self) -> Key {
        (self.port, self.protocol, self.holder.pid, self.holder.start_ticks)
    }
}

impl Holder {
    /// Cuts its names to what is kept.
    #[must_use]
    pub fn cut(mut self) -> Self {
        let shorten = |text: &mut Option<String>, most| {
            if let Some(text) = text {
                text.truncate(cut(text, most).len());
            }
        };
        shorten(&mut self.executable, EXECUTABLE_LEN * 2);
        shorten(&mut self.name, NAME_LEN);
        shorten(&mut self.user, NAME_LEN);
        shorten(&mut self.unit, EXECUTABLE_LEN);
        shorten(&mut self.container_id, EXECUTABLE_LEN);
        self
    }
}

/// Port, protocol, process and when it was made.
type Key = (u16, u8, u32, Option<u64>);

/// The holders of all ports.
#[derive(Clone, Debug, Default)]
pub(super) struct Holdings {
    open: BTreeMap<Key, Open>,
    /// Those that are not saved as they are.
    changed: BTreeMap<u64, Holding>,
    next_id: u64,
    /// The day, and how many began on it.
    begun: (i64, u32),
    /// Holders that were not kept.
    unkept: u64,
    has_scanned: bool,
    /// Time of the last scan, or of the last save of the agent before.
    looked_at: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct Open {
    id: u64,
    holding: Holding,
    /// When it last closed a socket of the port, by the call.
    closed_at: Option<Timestamp>,
    /// `CLOCK_BOOTTIME` of its last bind: a scan that began earlier does not know it.
    bound_at_ns: u64,
    /// Whether a scan has found it.
    is_found: bool,
    /// Whether it was open when the agent before this one ended, and no scan has been since.
    is_restored: bool,
}

impl Holdings {
    /// Continues with those that were open at the last save.
    pub(super) fn resume(
        open: impl IntoIterator<Item = (u64, Holding)>,
        next_id: u64,
        saved_at: Option<Timestamp>,
    ) -> Self {
        let open = open.into_iter().map(|(id, holding)| {
            let state = Open {
                id,
                closed_at: None,
                bound_at_ns: 0,
                is_found: true,
                is_restored: true,
                holding: holding.clone(),
            };
            (holding.key(), state)
        });
        Self { open: open.collect(), next_id, looked_at: saved_at, ..Self::default() }
    }

    /// A holder bound the port.
    pub(super) fn bound(
        &mut self,
        protocol: Protocol,
        port: u16,
        holder: Holder,
        at: (Timestamp, u64),
    ) {
        let (wall, boottime_ns) = at;
        let holder = holder.cut();
        let key = (port, protocol as u8, holder.pid, holder.start_ticks);
        if let Some(open) = self.open.get_mut(&key) {
            open.closed_at = None;
            open.bound_at_ns = open.bound_at_ns.max(boottime_ns);
            return;
        }
        let of_port = (port, 0, 0, None)..=(port, u8::MAX, u32::MAX, Some(u64::MAX));
        let unscanned = self.open.range(of_port).filter(|(_, open)| !open.is_found).count();
        if unscanned >= MOST_UNSCANNED {
            self.unkept += 1;
            return;
        }
        self.begin(key, holder, (wall, Known::Call), boottime_ns);
    }

    /// A process closed a socket of the port. Whether it has others there, a scan says, unless it was the
    /// last one of the port.
    pub(super) fn closed(
        &mut self,
        protocol: Protocol,
        port: u16,
        holder: &Holder,
        (at, was_last): (Timestamp, bool),
    ) {
        let key = (port, protocol as u8, holder.pid, holder.start_ticks);
        let Some(open) = self.open.get_mut(&key) else { return };
        open.closed_at = Some(at);
        if was_last && let Some(open) = self.open.remove(&key) {
            self.changed.insert(open.id, open.holding.ended(at, Known::Call));
        }
    }

    /// All holders that a scan found, which began at this time.
    pub(super) fn scanned(
        &mut self,
        at: (Timestamp, u64),
        found: impl IntoIterator<Item = (Protocol, u16, Holder)>,
    ) {
        let (wall, began_ns) = at;
        let mut present = BTreeSet::new();
        for (protocol, port, holder) in found {
            let holder = holder.cut();
            let key = (port, protocol as u8, holder.pid, holder.start_ticks);
            present.insert(key);
            if let Some(open) = self.open.get_mut(&key) {
                open.is_found = true;
                open.is_restored = false;
                open.closed_at = None;
                continue;
            }
            let known = if self.has_scanned { Known::Scan } else { Known::Gap };
            self.begin(key, holder, (wall, known), 0);
            if let Some(open) = self.open.get_mut(&key) {
                open.is_found = true;
            }
        }
        let looked_at = self.looked_at;
        let changed = &mut self.changed;
        self.open.retain(|key, open| {
            if present.contains(key) || open.bound_at_ns > began_ns {
                return true;
            }
            let (until, by) = match (open.closed_at, open.is_restored) {
                (Some(closed), _) => (closed, Known::Call),
                (None, true) => (looked_at.unwrap_or(wall), Known::Gap),
                (None, false) => (wall, Known::Scan),
            };
            changed.insert(open.id, open.holding.clone().ended(until, by));
            false
        });
        self.has_scanned = true;
        self.looked_at = Some(wall);
    }

    fn begin(&mut self, key: Key, holder: Holder, since: (Timestamp, Known), bound_at_ns: u64) {
        let day = since.0.as_second().div_euclid(86_400);
        if self.begun.0 != day {
            self.begun = (day, 0);
        }
        if self.begun.1 >= MOST_A_DAY {
            self.unkept += 1;
            return;
        }
        self.begun.1 += 1;
        let (id, (port, protocol, ..)) = (self.next_id, key);
        self.next_id += 1;
        let (since, since_by) = since;
        let holding =
            Holding { port, protocol, holder, since, since_by, until: None, until_by: None };
        self.changed.insert(id, holding.clone());
        let open =
            Open { id, holding, closed_at: None, bound_at_ns, is_found: false, is_restored: false };
        self.open.insert(key, open);
    }

    /// Those that changed since the last call, by their ids, and how many were not kept.
    pub(super) fn take_changes(&mut self) -> (BTreeMap<u64, Holding>, u64) {
        (std::mem::take(&mut self.changed), std::mem::take(&mut self.unkept))
    }

    /// The id of the next one.
    pub(super) const fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Takes back changes that could not be saved. Later ones of the same holding take precedence.
    pub(super) fn requeue(&mut self, changed: BTreeMap<u64, Holding>) {
        for (id, holding) in changed {
            self.changed.entry(id).or_insert(holding);
        }
    }

    /// All that are open are to be saved again.
    pub(super) fn mark_unsaved(&mut self) {
        for open in self.open.values() {
            self.changed.insert(open.id, open.holding.clone());
        }
    }
}
