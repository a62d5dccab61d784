//! A way to a port that leads past its sockets.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use monitor_common::flow::Protocol;

use crate::{
    process::Identity,
    sockets::reach::{Path, Reach, Standing},
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
    /// Those of `connections` that the table names; at most [`MOST_FLOWS`].
    pub(super) flows: Vec<Flow>,
    /// Whether connections that went this way and were answered are over.
    pub(super) has_ended: bool,
}

/// Connections of a way that are kept.
pub(super) const MOST_FLOWS: usize = 4096;

/// A connection, as the target has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) target: SocketAddr,
    pub(super) client: SocketAddr,
    /// Whether no packet has come or gone lately.
    pub(super) is_idle: bool,
}

impl Route {
    /// Whether it is known by a rule alone.
    pub(super) const fn is_rule(&self) -> bool {
        self.connections.is_none()
    }
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
    /// Whether the way is there, and is known to be used.
    pub standing: Standing,
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

impl PortReach {
    /// Whether both are the same way to the same port. A rule may have no address where a connection
    /// has the one that it came to.
    pub fn is_same_way(&self, other: &Self) -> bool {
        (self.port, self.protocol, self.netns_inode)
            == (other.port, other.protocol, other.netns_inode)
            && self.reach.path == other.reach.path
            && is_same_target(self.reach.target.as_deref(), other.reach.target.as_deref())
    }
}

fn is_same_target(one: Option<&str>, other: Option<&str>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return one == other };
    let is_port_of = |port: &str, end: &str| port.starts_with(':') && end.ends_with(port);
    one == other || is_port_of(one, other) || is_port_of(other, one)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_without_an_address_leads_to_the_port_of_every_address() {
        let is_same = |one, other| is_same_target(Some(one), Some(other));
        assert!(is_same(":8080", "10.0.0.1:8080") && is_same("[2001:db8::1]:8080", ":8080"));
        assert!(!is_same(":80", "10.0.0.1:8080") && !is_same("10.0.0.2:80", "10.0.0.1:80"));
        assert!(is_same_target(None, None) && !is_same_target(None, Some(":80")));
    }
}
