//! What the pipeline adds to the history by day.

use std::{
    collections::{BTreeSet, HashSet},
    sync::atomic::Ordering::Relaxed,
    time::Instant,
};

use jiff::Timestamp;
use monitor_common::socket_record::{Call, SocketRecord};
use monitor_kernel::{
    snapshot::{Remotes, Snapshot},
    sources::begin_of,
    topology::Role,
};
use monitor_ledger::{
    ClockReading,
    days::{BindCount, Holder, Program},
};

use super::Worker;
use crate::{
    agent::{pipeline::shared_ledger::lock, scan::Scan},
    process::Identity,
    sockets::Socket,
};

/// Nanoseconds of a clock tick, in which `/proc` has the start of a process (`USER_HZ` is 100).
const TICK_NS: u64 = 10_000_000;

impl Worker {
    /// Adds a reading of the counters, which the ledger has taken already.
    pub(super) fn note_counters(&mut self, at: ClockReading, counters: &Snapshot) {
        let chronicle = &mut self.chronicle;
        chronicle.begin_reading(at);
        for row in &counters.sockets {
            chronicle.sockets(row.port, &row.counters);
        }
        for row in &counters.rare_sockets {
            chronicle.rare_sockets(row.port, row.protocol, &row.counters);
        }
        for row in &counters.traffic {
            let is_edge = row.role == Role::Edge;
            chronicle.traffic(row.interface_index, is_edge, row.port, &row.counters);
        }
        for row in &counters.rare_traffic {
            let is_edge = row.role == Role::Edge;
            let (interface, protocol) = (row.interface_index, row.protocol);
            chronicle.rare_traffic(interface, is_edge, row.port, protocol, &row.counters);
        }
        let ledger = lock(&self.ledger);
        let ports: BTreeSet<u16> = ledger.active_ports().chain(chronicle.noted_ports()).collect();
        for port in ports {
            if let Some(facts) = ledger.facts(port) {
                chronicle.state(port, facts.state, facts.is_dormant());
            }
        }
        drop(ledger);
        chronicle.finish_reading();
        if let Some(remotes) = &counters.remotes {
            self.note_remotes(at, remotes);
        }
    }

    fn note_remotes(&mut self, at: ClockReading, remotes: &Remotes) {
        let mut present = HashSet::new();
        for talker in &remotes.talkers {
            let [received, sent] = talker.packets;
            let [bytes_received, bytes_sent] = talker.bytes;
            let counts = [received, sent, bytes_received, bytes_sent];
            present.insert((talker.port, talker.protocol, talker.address));
            self.chronicle.talker(talker.port, talker.protocol, talker.address, counts);
        }
        self.chronicle.finish_talkers(&present);
        for row in &remotes.sketches {
            let since = begin_of(row.window, at.wall, at.boottime_ns).unwrap_or(at.wall);
            self.chronicle.sketch(row.port, row.protocol, since, &row.sketch);
        }
        let kept = self.outputs.store.losses();
        let behind_the_ring = self.shared.lost.load(Relaxed) + kept.queue + kept.sink;
        self.chronicle.lost(remotes.ring_losses + behind_the_ring);
    }

    /// Adds a call of a process on a watched port, which the ledger has taken already.
    pub(super) fn note_call(
        &mut self,
        record: &SocketRecord,
        time: Timestamp,
        caller: Option<&Identity>,
    ) {
        if !self.ports.contains_key(&record.port) {
            return;
        }
        let Some(protocol) = record.protocol else { return };
        let holder = caller.map(holder_of).unwrap_or_default();
        match record.call {
            Call::Bind { errno } => {
                let executable = holder.executable.as_deref().unwrap_or_default();
                let program = Program::new(executable, holder.user.as_deref().unwrap_or_default());
                let count = match errno {
                    None => BindCount { succeeded: record.count, refused: 0 },
                    Some(_) => BindCount { succeeded: 0, refused: record.count },
                };
                self.chronicle.bound(record.port, time, program, count);
                if errno.is_none() && caller.is_some() {
                    let at = (time, record.last_ns);
                    self.chronicle.holds(record.port, protocol, holder, at);
                }
            }
            Call::Close => {
                let facts = lock(&self.ledger).facts(record.port);
                let was_last = facts.is_some_and(|facts| facts.bound_sockets(protocol) == 0);
                self.chronicle.released(record.port, protocol, &holder, (time, was_last));
            }
            Call::Listen | Call::Connect => {}
        }
    }

    /// Adds who holds ports by a scan.
    pub(super) fn note_holders(&mut self, scan: &Scan) {
        let found = scan.sockets.iter().filter(|socket| socket.holds_port()).flat_map(|socket| {
            let Socket { port, entry, holders, .. } = socket;
            let none = holders.is_empty().then(Holder::default);
            let holders = holders.iter().map(|holder| holder_of(holder)).chain(none);
            holders.map(|holder| (entry.protocol, *port, holder))
        });
        self.chronicle.scanned(scan.at, found);
    }

    /// Saves what is new of the history. What the store does not take now is saved the next time.
    pub(super) fn save_history(&mut self) {
        self.history_saved_at = Some(Instant::now());
        if self.outputs.store.needs_whole_history() {
            self.chronicle.mark_unsaved();
        }
        if let Err(changes) = self.outputs.store.save_history(self.chronicle.take_changes()) {
            self.chronicle.requeue(*changes);
        }
    }
}

fn holder_of(process: &Identity) -> Holder {
    let cgroup = process.cgroup.as_deref();
    Holder {
        pid: process.pid,
        start_ticks: process.start_time_ns.map(|start| start / TICK_NS),
        executable: process.executable.as_ref().map(|executable| executable.path.clone()),
        name: process.name.clone(),
        user: process.effective_user.as_ref().map(|user| user.label()),
        unit: cgroup.and_then(|cgroup| cgroup.unit.as_ref()).map(|unit| unit.name.clone()),
        container_id: cgroup.and_then(|cgroup| cgroup.container_id.clone()),
    }
}
