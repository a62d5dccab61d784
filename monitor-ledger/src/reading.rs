//! One reading of the kernel's counters.

use jiff::Timestamp;
use monitor_common::{
    flow::{Direction, LOOPBACK, PortCounters, Protocol, Side},
    socket_event::SocketCounters,
};

use crate::{
    clock::ClockReading,
    counts::{BindCounts, PacketCounts},
    ledger::Ledger,
    port::Port,
    transition::{BindEvidence, Transition, Wake},
};

/// Direction and side of a packet, the most significant for an awakening first.
const PLACES: [(Direction, Side); 4] = [
    (Direction::Ingress, Side::Local),
    (Direction::Egress, Side::Remote),
    (Direction::Egress, Side::Local),
    (Direction::Ingress, Side::Remote),
];

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
            for protocol in Protocol::ALL {
                self.packets(interface, port, protocol, &grown);
            }
        }
    }

    /// Records the socket call counters of `port`. Call it before [`Reading::traffic`] of the same
    /// port, so that a bind takes precedence as the cause of an awakening.
    pub fn sockets(&mut self, port: u16, counters: &SocketCounters) {
        let counts = BindCounts::from(counters);
        if counts.is_zero() {
            return;
        }
        let adopts_counts = self.ledger.adopts_counts;
        let Some(watched) = self.ledger.ports.get_mut(&port) else { return };
        let grown = watched.history.get_or_insert_default().binds.advance(counts);
        if grown.is_zero() {
            return;
        }
        self.ledger.dirty.insert(port);
        if !adopts_counts {
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

    fn packets(&mut self, interface: u32, number: u16, protocol: Protocol, grown: &PacketCounts) {
        let seen =
            |(direction, side): &(Direction, Side)| grown.of(protocol, *direction, *side) > 0;
        let Some((direction, side)) = PLACES.into_iter().find(seen) else { return };
        let wake = Wake::Packet { protocol, direction, side };
        let age_ns = self.ledger.clock.age_at(self.at.boottime_ns);
        let wall = self.at.wall;
        self.record_activity(number, wake, |port, _| {
            note_packets(port, interface, protocol, grown, age_ns, wall);
        });
    }

    fn binds(&mut self, number: u16, protocol: Protocol, (succeeded, refused): (u64, u64)) {
        let age_ns = self.ledger.clock.age_at(self.at.boottime_ns);
        let wall = self.at.wall;
        if succeeded > 0 {
            let wake = Wake::Bind { protocol, evidence: BindEvidence::Counted };
            self.record_activity(number, wake, |port, _| {
                let Some(history) = &mut port.history else { return };
                history.note_counted_binds(protocol, succeeded, wall);
            });
        }
        if refused > 0 {
            let wake = Wake::Bind { protocol, evidence: BindEvidence::CountedRefused };
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

/// Updates the history of a port by packets that were counted.
fn note_packets(
    port: &mut Port,
    interface: u32,
    protocol: Protocol,
    grown: &PacketCounts,
    age_ns: u64,
    wall: Timestamp,
) {
    let Some(history) = &mut port.history else { return };
    let index = protocol as usize;
    let seen = |direction, side| grown.of(protocol, direction, side) > 0;
    let now = Some(age_ns);
    history.last_packet[index] = Some(wall);
    // Over loopback this host is both ends.
    let elsewhere = interface != LOOPBACK;
    if elsewhere && seen(Direction::Egress, Side::Remote) {
        history.outbound_at_ns = now;
    }
    let unasked =
        elsewhere && seen(Direction::Ingress, Side::Remote) && !history.is_outbound_at(age_ns);
    let local = seen(Direction::Ingress, Side::Local) || seen(Direction::Egress, Side::Local);
    if (local || unasked) && !history.interval.held[index] && history.sockets[index].count == 0 {
        history.probed_at_ns = now;
    }
    let sockets = history.sockets[index];
    if seen(Direction::Egress, Side::Local) && sockets.count > 0 && sockets.can_answer {
        history.answered_at_ns[index] = now;
    }
}
