//! A way to a port that leads past its sockets.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use monitor_common::flow::Protocol;

use crate::{
    process::Identity,
    sockets::reach::{Path, Reach},
};

/// A way to a port, as the kernel's tables have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The port that packets come to.
    pub(super) port: u16,
    pub(super) protocol: Protocol,
    pub(super) path: Path,
    pub(super) target: Option<Target>,
    /// Connections that go this way and were answered; `None` if the table does not count them.
    pub(super) connections: Option<u64>,
}

/// Where packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sockets) struct Target {
    /// `None` for an address of this host, whichever the packet came to.
    pub(in crate::sockets) address: Option<IpAddr>,
    pub(in crate::sockets) port: u16,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => SocketAddr::new(address, self.port).fmt(f),
            None => write!(f, ":{}", self.port),
        }
    }
}

/// A way to a port that leads past its sockets, and who is at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortReach {
    /// The watched port.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Inode of the network namespace whose tables have it.
    pub netns_inode: u32,
    /// How packets are led, and to where.
    pub reach: Reach,
    /// Whether packets are known to have been answered on this way; otherwise it is configured.
    pub is_in_use: bool,
    /// Connections that go this way now and were answered; `None` if they are not counted. UDP
    /// conversations of the last minutes count as connections.
    pub connections: Option<u64>,
    /// Where the target is.
    pub place: Place,
    /// The pod of the first holder: its name, or its uid where the name cannot be read.
    pub pod: Option<String>,
    /// The processes that hold the target; empty if there are none or they cannot be seen.
    pub holders: Vec<Arc<Identity>>,
}

/// Where a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the same network namespace.
    Here,
    /// In another network namespace of this host.
    Namespace {
        /// Its inode.
        netns_inode: u32,
    },
    /// At an address that no namespace of this host has.
    Elsewhere,
    /// It cannot be found out.
    Unknown,
}

impl Place {
    /// Inode of the namespace, seen from namespace `here`; `None` if it is none of this host's.
    pub(in crate::sockets) const fn netns_inode(self, here: u32) -> Option<u32> {
        match self {
            Self::Here => Some(here),
            Self::Namespace { netns_inode } => Some(netns_inode),
            Self::Elsewhere | Self::Unknown => None,
        }
    }
}
