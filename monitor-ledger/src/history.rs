//! The history of a port, and its state derived from it.

use jiff::Timestamp;
use monitor_common::flow::Protocol;
use serde::{Deserialize, Serialize};

use crate::{
    awakenings::Awakenings,
    by_protocol::ByProtocol,
    counts::{BindCounts, InterfaceCounts},
    observation::{CallKind, SocketCall},
    rare_counts::RareInterfaceCounts,
    state::PortState,
};

/// How long a state lasts after its last observation, nanoseconds.
const STATE_LASTS_NS: u64 = 300_000_000_000;

/// Answers within this time after a socket held the port are taken for answers of that socket: of its
/// connections that are still being closed, or of a service that restarts.
const HOLD_OFF_NS: u64 = 5_000_000_000;

/// Observations of a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct History {
    /// Covered time of the last bind, holder or packet.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) active_at_ns: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) last_packet: ByProtocol<Option<Timestamp>>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) last_bind: ByProtocol<Option<Timestamp>>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) sockets: ByProtocol<Sockets>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) state: PortState,
    /// Ages of the ledger at which a state was last observed.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) probed_at_ns: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) attempted_at_ns: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) outbound_at_ns: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) transit_at_ns: Option<u64>,
    /// By protocol, where no socket explains the answers.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) answered_without_socket_at_ns: ByProtocol<Option<u64>>,
    /// Ages at which a packet last arrived at an address of this host, by protocol.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) received_at_ns: ByProtocol<Option<u64>>,
    /// Ages at which a socket last held the port that can accept, by protocol.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) held_at_ns: ByProtocol<Option<u64>>,
    /// The same by protocol, while a socket is open.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) answered_at_ns: ByProtocol<Option<u64>>,
    #[serde(flatten)]
    pub(super) awakenings: Awakenings,
    /// By protocol.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) unexpected_binds: ByProtocol<u64>,
    /// By protocol.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) answers_without_socket: ByProtocol<u64>,
    /// Binds with an event since the last reading, by protocol.
    #[serde(rename = "told_binds", skip_serializing_if = "is_default")]
    pub(super) reported_binds: ByProtocol<u64>,
    /// Binds that the last reading counted and that had no event yet, by protocol. An event that does
    /// not arrive before the next reading is lost.
    #[serde(rename = "untold_binds", skip_serializing_if = "is_default")]
    pub(super) unreported_binds: ByProtocol<u64>,
    /// Not the `packets` of ghostport 0.1, which had two sides.
    #[serde(rename = "traffic", skip_serializing_if = "is_default")]
    pub(super) packets: InterfaceCounts,
    /// Packets of rare protocols.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) rare_packets: RareInterfaceCounts,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) binds: BindCounts,
    /// Observations since the last reading; not saved.
    #[serde(skip)]
    pub(super) interval: Interval,
    /// Time of the last socket call, `CLOCK_BOOTTIME`, by protocol.
    #[serde(skip)]
    pub(super) called_at_ns: ByProtocol<u64>,
    /// Binds since the last scan that were counted as unexpected and had no event, by protocol.
    #[serde(skip)]
    pub(super) lost_binds: ByProtocol<u64>,
    /// Answers that no socket is known to have given, by protocol, until a scan decides.
    #[serde(skip)]
    pub(super) suspected: ByProtocol<Suspected>,
    /// Whether the last scan found no unexpected owner, by protocol; not known before the first.
    #[serde(skip)]
    pub(super) was_expected: ByProtocol<bool>,
    /// Sockets found by the scan in progress.
    #[serde(skip)]
    pub(super) found: ByProtocol<Sockets>,
}

/// Sockets of one protocol that hold a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sockets {
    pub(super) count: u32,
    pub(super) can_answer: bool,
    /// Absent in a ledger that an earlier version saved: the next scan knows.
    #[serde(default)]
    pub(super) can_accept: bool,
    /// Those whose owner the configuration expects. Absent likewise.
    #[serde(default)]
    pub(super) expected: u32,
    /// Those whose owner it does not expect. Absent likewise.
    #[serde(default)]
    pub(super) unexpected: u32,
}

impl Sockets {
    /// Whether the owners are expected; `None` if it depends on one that is not known.
    pub(super) const fn are_expected(&self) -> Option<bool> {
        if self.unexpected > 0 {
            Some(false)
        } else if self.expected >= self.count {
            Some(true)
        } else {
            None
        }
    }
}

/// Answers that no socket is known to have given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Suspected {
    pub(super) answers: u64,
    /// Time of the reading that counted the last of them, `CLOCK_BOOTTIME`: only a scan that starts
    /// later decides.
    pub(super) read_at_ns: u64,
}

/// Observations since the last reading, by protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Interval {
    /// A socket held the port at some time, so that a packet may have been for that socket.
    pub(super) held: ByProtocol<bool>,
    /// The same of a socket that can accept, so that an answer may be its own.
    pub(super) accepts: ByProtocol<bool>,
    /// Binds that succeeded, by the kernel's counters.
    pub(super) counted_binds: ByProtocol<u64>,
}

impl History {
    /// Continues after a gap that starts at `covered_ns`.
    pub(super) fn resume(&mut self, covered_ns: u64, same_boot: bool, same_counters: bool) {
        if self.is_held() {
            // The holder kept it active up to the gap.
            self.active_at_ns = self.active_at_ns.max(Some(covered_ns));
        }
        if !same_counters {
            self.packets = InterfaceCounts::default();
            self.rare_packets = RareInterfaceCounts::default();
            self.binds = BindCounts::default();
            (self.reported_binds, self.unreported_binds) = Default::default();
        }
        if !same_boot {
            self.forget_holders();
        }
        self.interval.held = self.sockets.map(|sockets| sockets.count > 0);
        self.interval.accepts = self.sockets.map(|sockets| sockets.can_accept);
        self.called_at_ns = ByProtocol::default();
        self.suspected = ByProtocol::default();
    }

    /// Forgets all holders; the next socket scan finds them.
    pub(super) fn forget_holders(&mut self) {
        for protocol in Protocol::ALL {
            self.set_sockets(protocol, Sockets::default());
        }
        self.interval = Interval::default();
    }

    /// Forgets the counts of all but these interfaces; returns whether there were any.
    pub(super) fn retain_interfaces(&mut self, remaining: &[u32]) -> bool {
        // Both: no short circuit.
        self.packets.retain(remaining) | self.rare_packets.retain(remaining)
    }

    /// Whether a socket holds the port.
    pub(super) fn is_held(&self) -> bool {
        self.sockets.iter().any(|sockets| sockets.count > 0)
    }

    /// Replaces the sockets that hold the port. Without sockets there is no answer either.
    pub(super) fn set_sockets(&mut self, protocol: Protocol, sockets: Sockets) {
        self.sockets[protocol] = sockets;
        if sockets.count == 0 {
            self.answered_at_ns[protocol] = None;
        }
    }

    /// The state of highest precedence that has not expired; a holder's lasts while it holds the port.
    pub(super) fn state_at(&self, age_ns: u64) -> PortState {
        let holds = |seen_at: Option<u64>| {
            seen_at.is_some_and(|seen_at| age_ns.saturating_sub(seen_at) < STATE_LASTS_NS)
        };
        let serves = self.answered_at_ns.into_iter().any(holds);
        let answers_elsewhere = self.answered_without_socket_at_ns.into_iter().any(holds);
        let accepts = self.sockets.iter().any(|sockets| sockets.can_accept);
        match (self.is_held(), serves, answers_elsewhere) {
            // A connection without a listener is one of those that something else has accepted.
            (true, true, _) if accepts || !answers_elsewhere => return PortState::Served,
            (_, _, true) => return PortState::Answered,
            (true, _, false) => return PortState::Bound,
            (false, _, false) => {}
        }
        let seen = [
            (self.outbound_at_ns, PortState::Outbound),
            (self.attempted_at_ns, PortState::Attempted),
            (self.probed_at_ns, PortState::Probed),
            (self.transit_at_ns, PortState::Transit),
        ];
        seen.into_iter().find(|(at, _)| holds(*at)).map_or(PortState::Quiet, |(_, state)| state)
    }

    /// Whether a packet of `protocol` arrived at an address of this host recently, so that a packet
    /// from there may be an answer.
    pub(super) fn has_received(&self, protocol: Protocol, age_ns: u64) -> bool {
        let received_at = self.received_at_ns[protocol];
        received_at.is_some_and(|at| age_ns.saturating_sub(at) < STATE_LASTS_NS)
    }

    /// Whether a socket that can accept holds the port or held it a moment ago, so that it explains
    /// answers.
    pub(super) fn explains_answers(&self, protocol: Protocol, age_ns: u64) -> bool {
        self.interval.accepts[protocol]
            || self.sockets[protocol].can_accept
            || self.held_at_ns[protocol].is_some_and(|at| age_ns.saturating_sub(at) < HOLD_OFF_NS)
    }

    /// Confirms the suspected answers after a scan found no socket. Returns their number and whether
    /// the port was not known to be answered before; `None` if there are none that the scan decides.
    pub(super) fn confirm_answers(
        &mut self,
        protocol: Protocol,
        scanned_at_ns: u64,
        age_ns: u64,
    ) -> Option<(u64, bool)> {
        let Suspected { answers, read_at_ns } = self.suspected[protocol];
        if answers == 0 || read_at_ns > scanned_at_ns {
            return None;
        }
        self.suspected[protocol] = Suspected::default();
        self.answers_without_socket[protocol] += answers;
        let before = self.answered_without_socket_at_ns[protocol].replace(age_ns);
        let is_new = before.is_none_or(|at| age_ns.saturating_sub(at) >= STATE_LASTS_NS);
        Some((answers, is_new))
    }

    /// What `count` alike calls say beside that they were made.
    pub(super) fn note_calls(
        &mut self,
        call: &SocketCall,
        count: u64,
        is_newer: bool,
        age_ns: u64,
    ) {
        let protocol = call.protocol;
        self.called_at_ns[protocol] = self.called_at_ns[protocol].max(call.at.boottime_ns);
        match call.kind {
            CallKind::Bind => {
                self.unexpected_binds[protocol] += if call.expected { 0 } else { count };
                self.note_held(protocol);
                self.reported_binds[protocol] += count;
                // The time of a bind that was only counted is that of the reading.
                let is_estimate = self.unreported_binds[protocol] > 0;
                if is_newer || is_estimate || self.last_bind[protocol] < Some(call.at.wall) {
                    self.last_bind[protocol] = Some(call.at.wall);
                }
            }
            CallKind::BindRefused => {
                self.attempted_at_ns = self.attempted_at_ns.max(Some(age_ns));
            }
            CallKind::Listen | CallKind::Close => self.note_held(protocol),
        }
    }

    fn note_held(&mut self, protocol: Protocol) {
        self.interval.held[protocol] = true;
        self.interval.accepts[protocol] = true;
    }

    /// Records binds that a reading at `wall` counted.
    pub(super) fn note_counted_binds(&mut self, protocol: Protocol, count: u64, wall: Timestamp) {
        self.interval.counted_binds[protocol] += count;
        if count > self.reported_binds[protocol] {
            self.last_bind[protocol] = Some(wall);
        }
    }

    /// Compares counted binds with events at the end of a reading.
    ///
    /// The event of a counted bind may arrive after the reading. If it has not arrived by the next
    /// reading, it was lost: the ring buffer was full or the agent was killed. Where the
    /// configuration expects no owners, a lost bind is still unexpected.
    pub(super) fn reconcile_bind_counts(&mut self, has_owners: bool) {
        for protocol in Protocol::ALL {
            let reported = std::mem::take(&mut self.reported_binds[protocol]);
            let late = reported.min(self.unreported_binds[protocol]);
            if !has_owners {
                let lost = self.unreported_binds[protocol] - late;
                self.unexpected_binds[protocol] += lost;
                self.lost_binds[protocol] += lost;
            }
            self.unreported_binds[protocol] =
                self.interval.counted_binds[protocol].saturating_sub(reported - late);
        }
    }

    /// Adds or removes `calls` sockets. The next scan corrects calls that were missed, and closes by a
    /// process of another owner than the bind's.
    pub(super) fn count_sockets(&mut self, call: &SocketCall, calls: u64) {
        let calls = u32::try_from(calls).unwrap_or(u32::MAX);
        let SocketCall { protocol, kind, expected, .. } = *call;
        let before = self.sockets[protocol];
        let Sockets { count, can_answer, can_accept, .. } = before;
        let (by_expected, by_other) = if expected { (calls, 0) } else { (0, calls) };
        let sockets = match kind {
            CallKind::BindRefused => return,
            CallKind::Bind => Sockets {
                count: count.saturating_add(calls),
                can_answer: can_answer || protocol.is_datagram(),
                can_accept: true,
                expected: before.expected.saturating_add(by_expected),
                unexpected: before.unexpected.saturating_add(by_other),
            },
            // Its bind may not have been observed.
            CallKind::Listen if count == 0 => Sockets {
                count: 1,
                can_answer: true,
                can_accept: true,
                expected: by_expected.min(1),
                unexpected: by_other.min(1),
            },
            CallKind::Listen => Sockets { can_answer: true, can_accept: true, ..before },
            CallKind::Close => {
                let count = count.saturating_sub(calls);
                let is_held = count > 0;
                Sockets {
                    count,
                    can_answer: can_answer && is_held,
                    can_accept: can_accept && is_held,
                    expected: before.expected.saturating_sub(by_expected).min(count),
                    unexpected: before.unexpected.saturating_sub(by_other).min(count),
                }
            }
        };
        self.set_sockets(protocol, sockets);
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
