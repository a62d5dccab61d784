//! Observations: the input of the ledger.

use std::time::Duration;

use monitor_common::flow::Protocol;

use crate::clock::ClockReading;

/// The circumstances under which a ledger starts or is restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Current time.
    pub at: ClockReading,
    /// The kernel's boot (`/proc/sys/kernel/random/boot_id`): sockets and `CLOCK_BOOTTIME` end
    /// with it.
    pub boot_id: String,
    /// The counters that will be read.
    pub counters: CounterEpoch,
}

/// Lifetime of a set of kernel counters, from zero until they are removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterEpoch {
    /// Unique per epoch; kept beside the pinned maps and replaced with them.
    pub id: String,
    /// Whether the counters existed before this agent started.
    pub adopted: bool,
}

/// A port to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The port.
    pub port: u16,
    /// Quiet time after which it is dormant.
    pub dormant_after: Duration,
    /// Whether the configuration expects owners of this port. Without any, every bind is unexpected.
    pub has_owners: bool,
}

/// A socket call on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketCall {
    /// Time of the call, from the kernel's record.
    pub at: ClockReading,
    /// The port that was held or requested.
    pub port: u16,
    /// Transport protocol of the socket.
    pub protocol: Protocol,
    /// Kind of call.
    pub kind: CallKind,
    /// Whether the configuration expects the caller on this port.
    pub expected: bool,
}

/// Kind of a [`SocketCall`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// The socket was bound to the port.
    Bind,
    /// The kernel refused to bind the socket.
    BindRefused,
    /// The socket listens.
    Listen,
    /// The socket released the port.
    Close,
}

/// A port that a socket scan found held and that had no known holder, or none that was unexpected
/// where the configuration expects others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundHeld {
    /// The port.
    pub port: u16,
    /// Transport protocol of the sockets.
    pub protocol: Protocol,
    /// Binds since the previous scan that were counted but had no event; perhaps of these sockets.
    pub unreported_binds: u64,
}

/// Sockets that hold a port, found by a socket scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The port.
    pub port: u16,
    /// Transport protocol of the sockets.
    pub protocol: Protocol,
    /// Number of sockets, listeners and connections together.
    pub sockets: u32,
    /// Whether one of them can answer a packet. A TCP socket that is bound but neither listening nor
    /// connected cannot: the kernel answers with a reset.
    pub can_answer: bool,
    /// Whether one of them can answer a peer that it does not know yet. A TCP connection cannot: where
    /// there is no listener, something else has accepted it, a transparent proxy for instance.
    pub can_accept: bool,
    /// Number of those whose owner the configuration expects.
    pub expected: u32,
    /// Number of those whose owner it does not expect. The owners of the others are not known.
    pub unexpected: u32,
}
