//! What happened to a socket.

use core::{net::IpAddr, num::NonZeroU32};

use super::caller::Caller;
use crate::{
    flow::Protocol,
    socket_event::{BindResult, Mechanism},
};

/// A socket call on a watched port, or one that opens or closes a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketRecord {
    /// The call and its outcome.
    pub call: Call,
    /// `CLOCK_BOOTTIME` or, before Linux 5.8, `CLOCK_MONOTONIC`; nanoseconds.
    pub time_ns: u64,
    /// Kind of hook that saw the call.
    pub mechanism: Mechanism,
    /// Transport protocol of the socket.
    pub protocol: Option<Protocol>,
    /// Address family of the socket.
    pub family: Option<Family>,
    /// Local address of the socket; `None` if it could not be read.
    pub local_address: Option<IpAddr>,
    /// Address of the peer; known of [`Call::Connect`] alone.
    pub peer_address: Option<IpAddr>,
    /// Local port: the one held after success, else the one asked for. Of [`Call::Connect`], the port
    /// of the peer.
    pub port: u16,
    /// Inode of the socket's network namespace, as in `/proc/PID/ns/net`.
    pub netns_inode: Option<u32>,
    /// Inode of the socket, as in `/proc/PID/fd` and in the lists of sockets.
    pub socket_inode: Option<NonZeroU32>,
    /// Index of the interface that the socket is bound to, in its namespace.
    pub interface: Option<NonZeroU32>,
    /// Whether an IPv6 socket accepts no IPv4; `None` of IPv4, and where it could not be read.
    pub is_v6_only: Option<bool>,
    /// Whether the kernel made the socket for itself, as for VXLAN and WireGuard.
    pub is_of_kernel: bool,
    /// Whether it is a call of a selftest, which the kernel side has not counted.
    pub is_selftest: bool,
    /// Whether it opens or closes a listener.
    pub listener: ListenerPart,
    /// Process that made the call; `None` in interrupt context, of a socket of the kernel, which may
    /// act on behalf of another process, and if several did.
    pub caller: Option<Caller>,
    /// How many calls alike it stands for, of which the first is described.
    pub count: u64,
    /// Time of the last of them, as [`Self::time_ns`].
    pub last_ns: u64,
}

/// Whether a call opens or closes a listener on a port whose listeners are reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ListenerPart {
    /// It does not.
    #[default]
    None,
    /// It does, and it is a call on a watched port that was counted.
    Also,
    /// It does, and it is reported for nothing else: no counter has it.
    Only,
}

/// What happened to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// A `bind(2)` or io_uring bind returned.
    Bind {
        /// Error number of a bind that failed.
        errno: Option<NonZeroU32>,
    },
    /// A TCP socket entered the listening state.
    Listen,
    /// A socket that held the port was closed.
    Close,
    /// A process sends to the port of a peer.
    Connect,
}

impl Call {
    /// The order of the calls in the life of a socket.
    pub const fn order(self) -> u8 {
        match self {
            Self::Bind { .. } => 0,
            Self::Listen | Self::Connect => 1,
            Self::Close => 2,
        }
    }

    /// How a bind ended; `None` for other calls.
    pub const fn bind_result(self) -> Option<BindResult> {
        match self {
            Self::Bind { errno: None } => Some(BindResult::Success),
            Self::Bind { errno: Some(errno) } => Some(BindResult::from_errno(errno.get())),
            Self::Listen | Self::Close | Self::Connect => None,
        }
    }

    /// Error number of a bind that failed; `None` for every other call.
    pub const fn errno(self) -> Option<NonZeroU32> {
        match self {
            Self::Bind { errno } => errno,
            Self::Listen | Self::Close | Self::Connect => None,
        }
    }
}

/// Internet address family of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `AF_INET`.
    Ipv4,
    /// `AF_INET6`, dual-stack sockets included.
    Ipv6,
}

impl Family {
    /// Name in events (`network.type` of the OpenTelemetry semantic conventions).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    /// From the version of IP, as records carry it.
    pub(super) const fn from_version(version: u8) -> Option<Self> {
        match version {
            4 => Some(Self::Ipv4),
            6 => Some(Self::Ipv6),
            _ => None,
        }
    }
}
