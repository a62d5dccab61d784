//! Transitions: the output of the ledger.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use monitor_common::flow::{Direction, Protocol, Side};

use crate::{observation::CallKind, state::PortState};

/// A change of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The port.
    pub port: u16,
    /// Wall clock time of its cause. A packet has the time of the reading that counted it.
    pub time: Timestamp,
    /// What changed.
    pub change: Change,
}

/// What changed about a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The port was dormant and became active.
    Awakened {
        /// The cause.
        wake: Wake,
        /// Covered time for which it was dormant: a lower bound, short by at most the time between
        /// two readings.
        dormant_for: Duration,
    },
    /// The port was quiet for `dormant_after`.
    Dormant,
    /// Packets were answered, and a socket scan found no socket of this host that answers.
    Answered {
        /// Transport protocol.
        protocol: Protocol,
        /// Answers since the last such transition.
        answers: u64,
        /// Whether the port was in another state of this protocol before.
        is_new: bool,
    },
    /// The port changed its state.
    State {
        /// The previous state.
        from: PortState,
        /// The new state.
        to: PortState,
    },
}

/// The cause of an awakening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// A packet.
    Packet {
        /// Its transport protocol.
        protocol: Protocol,
        /// Its direction.
        direction: Direction,
        /// The end of the conversation that has the port.
        side: Side,
    },
    /// A bind, or evidence of one.
    Bind {
        /// Transport protocol of the socket.
        protocol: Protocol,
        /// The evidence.
        evidence: BindEvidence,
        /// Whether the configuration expects the owner; `None` if the owner is not known.
        expected: Option<bool>,
    },
}

/// Evidence of a bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindEvidence {
    /// The event of the bind.
    Bound,
    /// The event of a bind that was refused.
    Refused,
    /// The kernel's counter; the event was lost.
    Counted,
    /// The kernel's counter of a refused bind; the event was lost.
    CountedRefused,
    /// A listen on a socket whose bind was not observed.
    Listens,
    /// A close of a socket whose bind was not observed.
    Closed,
    /// A socket scan found an open socket.
    Found,
}

/// Kind of a [`Wake`], as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    /// A packet.
    Packet = 0,
    /// A bind.
    Bind = 1,
}

impl Cause {
    /// Both causes, in the order of their index.
    pub const ALL: [Self; 2] = [Self::Packet, Self::Bind];

    /// Name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Packet => "packet",
            Self::Bind => "bind",
        }
    }
}

impl Wake {
    /// Its kind.
    pub const fn cause(self) -> Cause {
        match self {
            Self::Packet { .. } => Cause::Packet,
            Self::Bind { .. } => Cause::Bind,
        }
    }

    /// Whether the configuration expects the owner of the socket; `None` for a packet, and if the
    /// owner is not known.
    pub const fn expected(self) -> Option<bool> {
        match self {
            Self::Packet { .. } => None,
            Self::Bind { expected, .. } => expected,
        }
    }

    /// Whether an owner that the configuration expects is known to be the cause.
    pub const fn is_expected(self) -> bool {
        matches!(self.expected(), Some(true))
    }

    /// Whether a socket held the port before its bind could be observed.
    pub(super) const fn is_unobserved_bind(self) -> bool {
        use BindEvidence::{Closed, Found, Listens};
        matches!(self, Self::Bind { evidence: Closed | Found | Listens, .. })
    }

    /// Transport protocol of the packet or socket.
    pub const fn protocol(self) -> Protocol {
        match self {
            Self::Packet { protocol, .. } | Self::Bind { protocol, .. } => protocol,
        }
    }
}

impl CallKind {
    /// The call as evidence of a bind.
    pub(super) const fn evidence(self) -> BindEvidence {
        match self {
            Self::Bind => BindEvidence::Bound,
            Self::BindRefused => BindEvidence::Refused,
            Self::Listen => BindEvidence::Listens,
            Self::Close => BindEvidence::Closed,
        }
    }
}

impl fmt::Display for Wake {
    /// For the reason of an event.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Packet { direction, side, .. } => match (direction, side) {
                (Direction::Ingress, Side::Local) => "packet to the port",
                (Direction::Ingress, Side::Remote) => "packet from that port elsewhere",
                (Direction::Egress, Side::Local) => "packet from the port",
                (Direction::Egress, Side::Remote) => "packet to that port elsewhere",
                (_, Side::Transit) => "packet that passed through",
            },
            Self::Bind { evidence, .. } => match evidence {
                BindEvidence::Bound => "bind",
                BindEvidence::Refused => "bind, refused",
                BindEvidence::Counted => "bind, known by its count alone",
                BindEvidence::CountedRefused => "bind, refused, known by its count alone",
                BindEvidence::Listens => "socket that listens, bound unseen",
                BindEvidence::Closed => "socket that was closed, bound unseen",
                BindEvidence::Found => "socket that was found open, bound unseen",
            },
        };
        write!(f, "{} {what}", self.protocol().name())
    }
}
