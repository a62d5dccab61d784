//! One reading of the kernel's counters.

use monitor_common::{
    flow::{Direction, LOOPBACK, PortCounters, Protocol, Side},
    rare::{RareCounters, RareSocketCounters},
    socket_event::{BindResult, SocketCounters},
};

use crate::{
    clock::ClockReading,
    counts::{BindCounts, Growth, PacketCounts},
    history::History,
    ledger::Ledger,
    port::Port,
    transition::{BindEvidence, Transition, Wake},
};

/// A reading of the kernel's counters in progress; see [`Ledger::begin_reading`].
///
/// Pass in all counters, then call [`Reading::finish`]. A reading that is dropped instead, because
/// the counters could not be read, covers no time.
#[must_use = "time is covered by `finish`"]
#[derive(Debug)]
pub struct Reading<'a> {
    ledger: &'a mut Ledger,
    at: ClockReading,
    out: &'a mut Vec<Transition>,
    interfaces: Vec<u32>,
}

impl Ledger {
    /// Starts a reading of the kernel's counters.
    pub fn begin_reading<'a>(
        &'a mut self,
        at: ClockReading,
        out: &'a mut Vec<Transition>,
    ) -> Reading<'a> {
        Reading { ledger: self, at, out, interfaces: Vec::new() }
    }
}

impl Reading<'_> {
    /// Records the traffic counters of `port` on `interface`, which is an index.
    pub fn traffic(&mut self, interface: u32, port: u16, counters: &PortCounters) {
        // Rows of one interface follow each other.
        if self.interfaces.last() != Some(&interface) && !self.interfaces.contains(&interface) {
            self.interfaces.push(interface);
        }
        let counts = PacketCounts::from(counters);
        // Most ports have no traffic: skip the lookup.
        if counts.is_zero() {
            return;
        }
        let adopts_counts = self.ledger.adopts_counts;
        let Some(watched) = self.ledger.ports.get_mut(&port) else { return };
        let grown = watched.history.get_or_insert_default().packets.advance(interface, counts);
        if grown.is_zero() {
            return;
        }
        self.ledger.dirty.insert(port);
        if !adopts_counts {
            for protocol in Protocol::COMMON {
                self.packets(interface, port, protocol, &grown.of(protocol));
            }
        }
    }

    /// Records the counters of a rare protocol of `port` on `interface`, after those of
    /// [`Reading::traffic`].
    pub fn rare_traffic(
        &mut self,
        interface: u32,
        port: u16,
        protocol: Protocol,
        counters: &RareCounters,
    ) {
        let adopts_counts = self.ledger.adopts_counts;
        let Some(watched) = self.ledger.ports.get_mut(&port) else { return };
        let history = watched.history.get_or_insert_default();
        let grown = history.rare_packets.advance(interface, protocol, counters);
        if grown == Growth::default() {
            return;
        }
        self.ledger.dirty.insert(port);
        if !adopts_counts {
            self.packets(interface, port, protocol, &grown);
        }
    }

    /// Records the socket call counters of `port`. Call it before [`Reading::traffic`] of the same
    /// port, so that a bind takes precedence as the cause of an awakening.
    pub fn sockets(&mut self, port: u16, counters: &SocketCounters) {
        if counters.binds == [[0; BindResult::COUNT]; 2] {
            return;
        }
        let Some(watched) = self.ledger.ports.get_mut(&port) else { return };
        let grown = watched.history.get_or_insert_default().binds.advance(counters);
        self.grown_binds(port, &grown);
    }

    /// Records the socket call counters of a rare protocol, as [`Reading::sockets`].
    pub fn rare_sockets(&mut self, port: u16, protocol: Protocol, counters: &RareSocketCounters) {
        let Some(watched) = self.ledger.ports.get_mut(&port) else { return };
        let binds = &mut watched.history.get_or_insert_default().binds;
        let grown = binds.advance_rare(protocol, counters);
        self.grown_binds(port, &grown);
    }

    fn grown_binds(&mut self, port: u16, grown: &BindCounts) {
        if grown.is_zero() {
            return;
        }
        self.ledger.dirty.insert(port);
        if !self.ledger.adopts_counts {
            for protocol in Protocol::ALL {
                self.binds(port, protocol, grown.of(protocol));
            }
        }
    }

    /// Finishes the reading: the time up to it is covered, and ports that were quiet for
    /// `dormant_after` become dormant.
    pub fn finish(self) {
        let Self { ledger, at, out, mut interfaces } = self;
        ledger.clock.advance(at.boottime_ns);
        ledger.wall = at.wall;
        ledger.adopts_counts = false;
        interfaces.sort_unstable();
        if ledger.interfaces != interfaces {
            ledger.forget_interfaces(&interfaces);
            ledger.interfaces = interfaces;
        }
        ledger.tick(at, out);
    }

    fn packets(&mut self, interface: u32, number: u16, protocol: Protocol, grown: &Growth) {
        let age_ns = self.ledger.clock.age_at(self.at.boottime_ns);
        let read_at_ns = self.at.boottime_ns;
        let passed = Direction::ALL.into_iter().any(|d| grown.of(d, Side::Transit) > 0);
        if passed {
            self.ledger.record_transit(number, age_ns, self.at.wall, self.out);
        }
        let Some((direction, side)) = activity_of(interface, grown) else { return };
        let wake = Wake::Packet { protocol, direction, side };
        let wall = self.at.wall;
        self.record_activity(number, wake, |port, _| {
            let Some(history) = &mut port.history else { return };
            history.last_packet[protocol] = Some(wall);
            if begins_elsewhere(interface, grown) {
                history.outbound_at_ns = Some(age_ns);
            }
            note_local_packets(history, protocol, grown, age_ns, read_at_ns);
        });
    }

    fn binds(&mut self, number: u16, protocol: Protocol, (succeeded, refused): (u64, u64)) {
        let age_ns = self.ledger.clock.age_at(self.at.boottime_ns);
        let wall = self.at.wall;
        let has_owners = self.ledger.ports.get(&number).is_some_and(|port| port.has_owners);
        // Who it was is not known. Without owners, it was not an expected one.
        let expected = (!has_owners).then_some(false);
        if succeeded > 0 {
            let evidence = BindEvidence::Counted;
            let wake = Wake::Bind { protocol, evidence, expected };
            self.record_activity(number, wake, |port, _| {
                let Some(history) = &mut port.history else { return };
                history.note_counted_binds(protocol, succeeded, wall);
            });
        }
        if refused > 0 {
            let evidence = BindEvidence::CountedRefused;
            let wake = Wake::Bind { protocol, evidence, expected };
            self.record_activity(number, wake, |port, _| {
                let Some(history) = &mut port.history else { return };
                history.attempted_at_ns = history.attempted_at_ns.max(Some(age_ns));
            });
        }
    }

    /// Records activity between the previous reading and this one.
    fn record_activity(&mut self, number: u16, wake: Wake, note: impl FnOnce(&mut Port, bool)) {
        let activity = self.ledger.activity(wake, self.at);
        self.ledger.record_activity(number, &activity, self.at, note, self.out);
    }
}

/// The packet that counts as activity of the port, the most significant for an awakening first; `None`
/// if all packets belong to others.
///
/// Packets of the port on another host count only if this host began the conversation. Otherwise the
/// peer chose the port as the source of its own, by chance for instance, or the conversation is older
/// than the agent.
fn activity_of(interface: u32, grown: &Growth) -> Option<(Direction, Side)> {
    let is_local = |direction| grown.of(direction, Side::Local) > 0;
    if is_local(Direction::Ingress) {
        Some((Direction::Ingress, Side::Local))
    } else if begins_elsewhere(interface, grown) {
        Some((Direction::Egress, Side::Remote))
    } else if is_local(Direction::Egress) {
        Some((Direction::Egress, Side::Local))
    } else {
        None
    }
}

/// Whether this host began a conversation with the port on another host. Over loopback this host is
/// both ends.
fn begins_elsewhere(interface: u32, grown: &Growth) -> bool {
    interface != LOOPBACK && grown.begun > 0
}

/// Updates the history of a port by packets at addresses of this host.
fn note_local_packets(
    history: &mut History,
    protocol: Protocol,
    grown: &Growth,
    age_ns: u64,
    read_at_ns: u64,
) {
    let received = grown.of(Direction::Ingress, Side::Local) > 0;
    let sent = grown.of(Direction::Egress, Side::Local) > 0;
    let sockets = history.sockets[protocol];
    if (received || sent) && !history.interval.held[protocol] && sockets.count == 0 {
        history.probed_at_ns = Some(age_ns);
    }
    if sent && sockets.count > 0 && sockets.can_answer {
        history.answered_at_ns[protocol] = Some(age_ns);
    }
    if received {
        history.received_at_ns[protocol] = Some(age_ns);
    }
    // A datagram answers only if one arrived before it.
    let answers = grown.answers;
    let is_answer = !protocol.is_datagram() || history.has_received(protocol, age_ns);
    if answers > 0 && is_answer && !history.explains_answers(protocol, age_ns) {
        let suspected = &mut history.suspected[protocol];
        suspected.answers += answers;
        suspected.read_at_ns = read_at_ns;
    }
}
