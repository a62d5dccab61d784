//! The ports that a scan is about.

use monitor_common::{flow::Side, ports::PortSet};

use super::socket::Entry;

/// The ports that a scan is about.
pub(super) struct PortFilter<'a> {
    pub(super) ports: &'a [u16],
    set: PortSet,
}

impl<'a> PortFilter<'a> {
    pub(super) fn new(ports: &'a [u16]) -> Self {
        Self { ports, set: ports.iter().copied().collect() }
    }

    /// The ends of a socket that have one of the ports. A socket with the same port at both ends
    /// counts as local.
    pub(super) fn ends(&self, entry: &Entry) -> [Option<(u16, Side)>; 2] {
        let local = entry.local.port();
        let peer = entry.peer.map(|peer| peer.port()).filter(|peer| *peer != local);
        let matches = |port: &u16| self.set.contains(*port);
        [
            Some(local).filter(matches).map(|port| (port, Side::Local)),
            peer.filter(matches).map(|port| (port, Side::Remote)),
        ]
    }

    /// Whether this is one of the ports.
    pub(super) fn contains(&self, port: u16) -> bool {
        self.set.contains(port)
    }

    /// Whether a socket has one of the ports at an end.
    pub(super) fn matches(&self, entry: &Entry) -> bool {
        self.ends(entry).iter().any(Option::is_some)
    }
}
