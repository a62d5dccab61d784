//! What was seen of a port, and the state that follows from it.

use jiff::Timestamp;
use monitor_common::flow::Protocol;
use serde::{Deserialize, Serialize};

use super::{
    CallKind, PortState, SocketCall,
    counts::{BindCounts, InterfaceCounts},
};

/// How long a state holds after it was last seen, nanoseconds.
const STATE_LASTS_NS: u64 = 300_000_000_000;

/// What was seen of a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct History {
    /// Covered time of the last bind, holder or packet.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) active_at_ns: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) last_packet: [Option<Timestamp>; 2],
    #[serde(skip_serializing_if = "is_default")]
    pub(super) last_bind: [Option<Timestamp>; 2],
    #[serde(skip_serializing_if = "is_default")]
    pub(super) sockets: [Sockets; 2],
    #[serde(skip_serializing_if = "is_default")]
    pub(super) state: PortState,
    /// Ages of the ledger at which a state was last seen.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) probed_at_ns: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) attempted_at_ns: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) outbound_at_ns: Option<u64>,
    /// The same, by protocol, while a socket is open.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) answered_at_ns: [Option<u64>; 2],
    /// By cause.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) awakenings: [u64; 2],
    /// By protocol.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) unexpected_binds: [u64; 2],
    /// Binds that events have told since the last reading, by protocol.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) told_binds: [u64; 2],
    /// Binds that the last reading has counted and no event had told, by protocol: they are told by
    /// the next one, or never.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) untold_binds: [u64; 2],
    #[serde(skip_serializing_if = "is_default")]
    pub(super) packets: InterfaceCounts,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) binds: BindCounts,
    /// What belongs to the time since the last reading, and is not kept.
    #[serde(skip)]
    pub(super) interval: Interval,
    /// When a socket was last called about, `CLOCK_BOOTTIME`, by protocol.
    #[serde(skip)]
    pub(super) called_at_ns: [u64; 2],
    /// Binds that were counted as unexpected and that no event has told, since the last look, by
    /// protocol.
    #[serde(skip)]
    pub(super) lost_binds: [u64; 2],
    /// Sockets found by the look at all of them that is going on.
    #[serde(skip)]
    pub(super) found: [Sockets; 2],
}

/// Sockets of one protocol that hold a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sockets {
    pub(super) count: u32,
    pub(super) can_answer: bool,
}

/// What happened to a port since the last reading, by protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Interval {
    /// A socket held the port for some of it, so that a packet may have been for that socket.
    pub(super) held: [bool; 2],
    /// Binds that succeeded, by the kernel's counters.
    pub(super) counted_binds: [u64; 2],
}

impl History {
    /// Goes on after a gap that begins at `covered_ns`.
    pub(super) fn resume(&mut self, covered_ns: u64, same_boot: bool, same_counters: bool) {
        if self.is_held() {
            // It was, up to the gap.
            self.active_at_ns = self.active_at_ns.max(Some(covered_ns));
        }
        if !same_counters {
            self.packets = InterfaceCounts::default();
            self.binds = BindCounts::default();
            (self.told_binds, self.untold_binds) = Default::default();
        }
        if !same_boot {
            self.forget_holders();
        }
        self.interval.held = self.sockets.map(|sockets| sockets.count > 0);
        self.called_at_ns = [0; 2];
    }

    /// Nobody is known to hold the port; the next look at all sockets finds who does.
    pub(super) fn forget_holders(&mut self) {
        for protocol in Protocol::ALL {
            self.set_sockets(protocol, Sockets::default());
        }
        self.interval = Interval::default();
    }

    /// Whether a socket holds the port.
    pub(super) fn is_held(&self) -> bool {
        self.sockets.iter().any(|sockets| sockets.count > 0)
    }

    /// Sets who holds the port; an answer is that of the sockets that were open then.
    pub(super) fn set_sockets(&mut self, protocol: Protocol, sockets: Sockets) {
        self.sockets[protocol as usize] = sockets;
        if sockets.count == 0 {
            self.answered_at_ns[protocol as usize] = None;
        }
    }

    /// The highest that held within the last minutes, and for a holder, while it is there.
    pub(super) fn state_at(&self, age_ns: u64) -> PortState {
        let holds = |seen_at: Option<u64>| {
            seen_at.is_some_and(|seen_at| age_ns.saturating_sub(seen_at) < STATE_LASTS_NS)
        };
        if self.is_held() {
            let serves = self.answered_at_ns.into_iter().any(holds);
            return if serves { PortState::Served } else { PortState::Bound };
        }
        let seen = [
            (self.outbound_at_ns, PortState::Outbound),
            (self.attempted_at_ns, PortState::Attempted),
            (self.probed_at_ns, PortState::Probed),
        ];
        seen.into_iter().find(|(at, _)| holds(*at)).map_or(PortState::Quiet, |(_, state)| state)
    }

    /// Whether this host has talked to the port elsewhere, so that answers from there are no
    /// probes.
    pub(super) fn is_outbound_at(&self, age_ns: u64) -> bool {
        self.outbound_at_ns.is_some_and(|at| age_ns.saturating_sub(at) < STATE_LASTS_NS)
    }

    /// What a call says beside that it was made.
    pub(super) fn note_call(&mut self, call: &SocketCall, is_news: bool, age_ns: u64) {
        let index = call.protocol as usize;
        self.called_at_ns[index] = self.called_at_ns[index].max(call.at.boottime_ns);
        match call.kind {
            CallKind::Bind { expected } => {
                self.unexpected_binds[index] += u64::from(!expected);
                self.interval.held[index] = true;
                self.told_binds[index] += 1;
                // The time of a bind that was only counted is that of the reading.
                let is_estimate = self.untold_binds[index] > 0;
                if is_news || is_estimate || self.last_bind[index] < Some(call.at.wall) {
                    self.last_bind[index] = Some(call.at.wall);
                }
            }
            CallKind::BindRefused => {
                self.attempted_at_ns = self.attempted_at_ns.max(Some(age_ns));
            }
            CallKind::Listen | CallKind::Close => self.interval.held[index] = true,
        }
    }

    /// Takes note of binds that the kernel's counters tell of at `wall`.
    pub(super) fn note_counted_binds(&mut self, protocol: Protocol, count: u64, wall: Timestamp) {
        let index = protocol as usize;
        self.interval.counted_binds[index] += count;
        if count > self.told_binds[index] {
            self.last_bind[index] = Some(wall);
        }
    }

    /// Compares, at the end of a reading, binds that were counted with those that were told.
    ///
    /// One may be counted by a reading and told only behind it. What is not told by the next reading
    /// either was lost, in a full ring buffer or with an agent that was killed; it is unexpected all
    /// the same where nobody is expected.
    pub(super) fn balance_binds(&mut self, has_owners: bool) {
        for index in 0..2 {
            let told = std::mem::take(&mut self.told_binds[index]);
            let late = told.min(self.untold_binds[index]);
            if !has_owners {
                let lost = self.untold_binds[index] - late;
                self.unexpected_binds[index] += lost;
                self.lost_binds[index] += lost;
            }
            self.untold_binds[index] =
                self.interval.counted_binds[index].saturating_sub(told - late);
        }
    }

    /// Adds and takes away sockets, call by call. A look at all sockets corrects what is missed.
    pub(super) fn count_socket(&mut self, protocol: Protocol, kind: CallKind) {
        let Sockets { count, can_answer } = self.sockets[protocol as usize];
        let sockets = match kind {
            CallKind::BindRefused => return,
            CallKind::Bind { .. } => Sockets {
                count: count.saturating_add(1),
                can_answer: can_answer || protocol == Protocol::Udp,
            },
            // One that was not seen to be bound holds the port as well.
            CallKind::Listen => Sockets { count: count.max(1), can_answer: true },
            CallKind::Close => {
                let count = count.saturating_sub(1);
                Sockets { count, can_answer: can_answer && count > 0 }
            }
        };
        self.set_sockets(protocol, sockets);
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
