//! One reading of the kernel's counters.

use jiff::Timestamp;
use monitor_common::{
    flow::{Direction, LOOPBACK, PortCounters, Protocol, Side},
    socket_event::SocketCounters,
};

use super::{
    BindEvidence, Ledger, Moment, Transition, Wake,
    counts::{BindCounts, PacketCounts},
    port::Port,
};

/// Where a packet may have been seen, the most telling place first.
const PLACES: [(Direction, Side); 4] = [
    (Direction::Ingress, Side::Local),
    (Direction::Egress, Side::Remote),
    (Direction::Egress, Side::Local),
    (Direction::Ingress, Side::Remote),
];

/// A reading of the kernel's counters that goes on; made by [`Ledger::read`].
///
/// It is told everything that was read, and then finished. One that is dropped unfinished, because
/// the kernel could not be read, covers no time.
#[must_use = "time is covered by `finish`"]
#[derive(Debug)]
pub struct Reading<'a> {
    pub(super) ledger: &'a mut Ledger,
    pub(super) at: Moment,
    pub(super) out: &'a mut Vec<Transition>,
    pub(super) interfaces: Vec<u32>,
}

impl Reading<'_> {
    /// What `interface`, by its index, has counted of `port` since these counters were made.
    pub fn traffic(&mut self, interface: u32, port: u16, counters: &PortCounters) {
        // Rows of one interface follow each other.
        if self.interfaces.last() != Some(&interface) && !self.interfaces.contains(&interface) {
            self.interfaces.push(interface);
        }
        let counts = PacketCounts::from(counters);
        // Nearly every row of many ports, and worth no look-up.
        if counts.is_zero() {
            return;
        }
        let adopts = self.ledger.adopts;
        let Some(watched) = self.ledger.ports.get_mut(&port) else { return };
        let grown = watched.history.get_or_insert_default().packets.advance(interface, counts);
        if grown.is_zero() {
            return;
        }
        self.ledger.dirty.insert(port);
        if !adopts {
            for protocol in Protocol::ALL {
                self.packets(interface, port, protocol, &grown);
            }
        }
    }

    /// What socket calls were counted of `port` since these counters were made. Told before the
    /// traffic of the same port, a bind is what awakens it.
    pub fn sockets(&mut self, port: u16, counters: &SocketCounters) {
        let counts = BindCounts::from(counters);
        if counts.is_zero() {
            return;
        }
        let adopts = self.ledger.adopts;
        let Some(watched) = self.ledger.ports.get_mut(&port) else { return };
        let grown = watched.history.get_or_insert_default().binds.advance(counts);
        if grown.is_zero() {
            return;
        }
        self.ledger.dirty.insert(port);
        if !adopts {
            for protocol in Protocol::ALL {
                self.binds(port, protocol, grown.of(protocol));
            }
        }
    }

    /// Everything was read: the time up to it is covered, and ports that have been quiet for long
    /// enough are dormant.
    pub fn finish(self) {
        let Self { ledger, at, out, mut interfaces } = self;
        ledger.timeline.advance(at.boottime_ns);
        ledger.wall = at.wall;
        ledger.adopts = false;
        interfaces.sort_unstable();
        if ledger.interfaces != interfaces {
            ledger.forget_interfaces(&interfaces);
            ledger.interfaces = interfaces;
        }
        ledger.settle(at, out);
    }

    fn packets(&mut self, interface: u32, number: u16, protocol: Protocol, grown: &PacketCounts) {
        let seen =
            |(direction, side): &(Direction, Side)| grown.of(protocol, *direction, *side) > 0;
        let Some((direction, side)) = PLACES.into_iter().find(seen) else { return };
        let wake = Wake::Packet { protocol, direction, side };
        let age_ns = self.ledger.timeline.age_at(self.at.boottime_ns);
        let wall = self.at.wall;
        self.witness(number, wake, |port, _| {
            note_packets(port, interface, protocol, grown, age_ns, wall);
        });
    }

    fn binds(&mut self, number: u16, protocol: Protocol, (succeeded, refused): (u64, u64)) {
        let age_ns = self.ledger.timeline.age_at(self.at.boottime_ns);
        let wall = self.at.wall;
        if succeeded > 0 {
            let wake = Wake::Bind { protocol, evidence: BindEvidence::Counted };
            self.witness(number, wake, |port, _| {
                let Some(history) = &mut port.history else { return };
                history.note_counted_binds(protocol, succeeded, wall);
            });
        }
        if refused > 0 {
            let wake = Wake::Bind { protocol, evidence: BindEvidence::CountedRefused };
            self.witness(number, wake, |port, _| {
                let Some(history) = &mut port.history else { return };
                history.attempted_at_ns = history.attempted_at_ns.max(Some(age_ns));
            });
        }
    }

    /// What the counters say happened after the reading before and up to this one: at the latest
    /// now, and not known of before this one.
    fn witness(&mut self, number: u16, wake: Wake, note: impl FnOnce(&mut Port, bool)) {
        let evidence = self.ledger.known(wake, self.at);
        self.ledger.witness(number, &evidence, self.at, note, self.out);
    }
}

/// What packets say beside that they were there.
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
    // The other end of what is said over loopback is this host, too.
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
