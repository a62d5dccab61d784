//! What the ledger tells.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use monitor_common::flow::{Direction, Protocol, Side};

use super::PortState;

/// Something became of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The port.
    pub port: u16,
    /// Time of day of what caused it. Packets are known by readings: theirs is the time of the
    /// reading.
    pub time: Timestamp,
    /// What became of it.
    pub change: Change,
}

/// What became of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was dormant, and something happened.
    Awakened {
        /// What happened.
        wake: Wake,
        /// Covered time that it was dormant for: never more, and less by the time between two
        /// readings at most.
        dormant_for: Duration,
    },
    /// It has been quiet for long enough.
    Dormant,
    /// It is in another state.
    State {
        /// The one before.
        from: PortState,
        /// The one now.
        to: PortState,
    },
}

/// What woke a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// A packet.
    Packet {
        /// Its transport protocol.
        protocol: Protocol,
        /// Which way it went.
        direction: Direction,
        /// Whose end of it the port was.
        side: Side,
    },
    /// A bind, or what gives one away.
    Bind {
        /// Transport protocol of the socket.
        protocol: Protocol,
        /// How it is known.
        evidence: BindEvidence,
    },
}

/// How a bind is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindEvidence {
    /// Its own event.
    Bound,
    /// Its own event: it was refused.
    Refused,
    /// The kernel's counter; its event was lost.
    Counted,
    /// The same of one that was refused.
    CountedRefused,
    /// A socket listens, whose bind was not seen.
    Listens,
    /// A socket was closed, whose bind was not seen.
    Closed,
    /// A look at all sockets found it.
    Found,
}

/// Kind of a [`Wake`], as a label of metrics.
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

    /// Whether a socket held the port, nobody knows since when.
    pub(super) const fn was_bound_unseen(self) -> bool {
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

impl fmt::Display for Wake {
    /// For the reason of an event.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Packet { direction, side, .. } => match (direction, side) {
                (Direction::Ingress, Side::Local) => "packet to the port",
                (Direction::Ingress, Side::Remote) => "packet from that port elsewhere",
                (Direction::Egress, Side::Local) => "packet from the port",
                (Direction::Egress, Side::Remote) => "packet to that port elsewhere",
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
