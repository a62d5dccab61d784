//! What the pipeline does with the results of scans.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use monitor_ledger::{ClockReading, FoundHeld};

use super::Worker;
use crate::{
    agent::{
        pipeline::{holders, shared_ledger::lock},
        scan::Scan,
    },
    event::Event,
    process::Identity,
    sockets::{Capture, PortReach, Socket},
};

impl Worker {
    /// Brings the ledger in line with the sockets that a scan found.
    pub(super) fn reconcile(&mut self, scan: &Scan) {
        let Scan { at, ref sockets, ref reaches, .. } = *scan;
        let listeners = scan.listeners.iter().flat_map(|found| &found.listeners);
        self.expected_owners.remember(sockets.iter().chain(listeners.map(|open| &open.socket)));
        let held = holders::held(sockets);
        let mut ledger = lock(&self.ledger);
        if self.has_scanned {
            let differences = holders::differences(&ledger, &held);
            self.shared.differences.fetch_add(differences, Relaxed);
        }
        for (port, protocol) in &scan.dismissed {
            ledger.dismiss_answers(*port, *protocol);
        }
        let found = ledger.record_holders(at, held, &mut self.transitions);
        drop(ledger);
        for found in found {
            self.emit_unexpected_holders(at, &found, sockets);
        }
        self.emit_passed_on(at, sockets);
        self.look_at_holders(sockets);
        // The first scan finds sockets that were opened before the agent started. They are no
        // differences.
        self.has_scanned = true;
        self.emit_answers(reaches);
        self.emit_transitions(None);
    }

    /// Emits the events of answers that the scan has confirmed.
    fn emit_answers(&mut self, reaches: &[PortReach]) {
        let Self { answers, transitions, context, .. } = self;
        let events = transitions.iter().filter_map(|t| answers.event(t, reaches, context));
        for event in events.collect::<Vec<_>>() {
            self.emit(event);
        }
    }

    fn emit_unexpected_holders(&mut self, at: ClockReading, found: &FoundHeld, sockets: &[Socket]) {
        let mut unexpected = holders::unexpected(found, sockets);
        // Those that were judged after their binds were reported then.
        unexpected.retain(|socket| {
            let others = self.unexpected_among(socket);
            others.is_empty()
                || !others.iter().all(|other| self.evidence.was_misjudged(other, socket.port))
        });
        for socket in &unexpected {
            let others = self.unexpected_among(socket);
            // Where no owner is expected, none is more unexpected than another.
            let holder = others.first().copied().or(socket.holders.first().map(Arc::as_ref));
            for other in &others {
                let Socket { port, entry, .. } = socket;
                self.reported_owners.add(*port, entry.protocol, other, at.boottime_ns);
            }
            let event = Event::unexpected_holder(socket, holder, false, at.wall, &self.context);
            self.emit_of(event, holder);
        }
        lock(&self.ledger).count_unexpected_binds(found, unexpected.len() as u64);
        self.has_changes |= !unexpected.is_empty();
    }

    /// Emits an event about each program that holds a socket now and is not expected: an expected owner
    /// passed it on, or executes something else. Where no owner is expected, the bind says it all.
    fn emit_passed_on(&mut self, at: ClockReading, sockets: &[Socket]) {
        for socket in holders::bound(sockets) {
            for holder in self.unexpected_among(socket) {
                let Socket { port, entry, .. } = socket;
                let is_new =
                    self.reported_owners.add(*port, entry.protocol, holder, at.boottime_ns);
                // The agent before this one has judged those that were there at its start, and one that
                // was judged after its bind was reported then.
                let was_misjudged = self.evidence.was_misjudged(holder, *port);
                if is_new && self.has_scanned && !was_misjudged {
                    let holder = Some(holder);
                    let event =
                        Event::unexpected_holder(socket, holder, true, at.wall, &self.context);
                    self.emit_of(event, holder);
                }
            }
        }
        self.reported_owners.end_scan(at.boottime_ns);
    }

    /// The holders that the configuration does not expect, if it expects any.
    fn unexpected_among<'a>(&self, socket: &'a Socket) -> Vec<&'a Identity> {
        let expect = self.ports.get(&socket.port).map(|port| &*port.expect);
        let expect = expect.filter(|expect| !expect.is_empty());
        expect.map(|expect| self.expected_owners.unexpected(socket, expect)).unwrap_or_default()
    }

    pub(super) fn emit_captures(&mut self, at: ClockReading, captures: &[&Capture]) {
        for capture in captures {
            let event = Event::captured(capture, at.wall, &self.context);
            self.emit_of(event, capture.holders.first().map(Arc::as_ref));
        }
    }
}
