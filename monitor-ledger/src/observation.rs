//! What the ledger is told.

use std::time::Duration;

use monitor_common::flow::Protocol;

use super::Moment;

/// How the ledger begins or goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Now.
    pub at: Moment,
    /// The kernel's boot (`/proc/sys/kernel/random/boot_id`): sockets and `CLOCK_BOOTTIME` end
    /// with it.
    pub boot_id: String,
    /// Which counters the readings are of.
    pub counters: CounterEpoch,
}

/// One life of the kernel's counters, from zero to their end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterEpoch {
    /// Differs between any two lives: kept beside the pinned maps, made anew with them.
    pub id: String,
    /// Whether they had counted before this agent came.
    pub adopted: bool,
}

/// A port that is to be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The port.
    pub port: u16,
    /// Quiet time after which it is dormant.
    pub dormant_after: Duration,
    /// Whether the configuration expects anybody there: who binds the port is unexpected otherwise,
    /// whoever that is.
    pub has_owners: bool,
}

/// A socket call on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketCall {
    /// When it was made; the record of the kernel side says so.
    pub at: Moment,
    /// Port that was held or asked for.
    pub port: u16,
    /// Transport protocol of the socket.
    pub protocol: Protocol,
    /// Which call.
    pub kind: CallKind,
}

/// Which call a [`SocketCall`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// The socket holds the port.
    Bind {
        /// Whether the configuration expects the caller.
        expected: bool,
    },
    /// The kernel refused to bind the socket.
    BindRefused,
    /// The socket listens.
    Listen,
    /// The socket gave the port back.
    Close,
}

/// A port that a look found held where nobody was known to hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundHeld {
    /// The port.
    pub port: u16,
    /// Transport protocol of the sockets.
    pub protocol: Protocol,
    /// Binds that were counted and never told, since the look before: of these sockets, perhaps.
    pub untold_binds: u64,
}

/// Sockets that hold a port, as a look at all of them found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The port.
    pub port: u16,
    /// Transport protocol of the sockets.
    pub protocol: Protocol,
    /// How many, listeners and connections together.
    pub sockets: u32,
    /// Whether one of them can answer a packet: a TCP socket that is bound and neither listens nor
    /// is connected cannot, the kernel resets in its place.
    pub can_answer: bool,
}
