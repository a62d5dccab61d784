//! A socket that takes packets without holding a port.

use std::{fmt::Write as _, sync::Arc};

use super::scope::{CapturedPort, Scope};
use crate::process::Identity;

/// Ports that a description names at most.
const MAX_NAMED: usize = 8;

/// Kind of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CaptureKind {
    /// `AF_PACKET`.
    PacketSocket,
    /// `SOCK_RAW` of IPv4 or IPv6.
    RawSocket,
    /// `AF_XDP`.
    Xdp,
}

/// The queue of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Name of the interface.
    pub interface: String,
    /// Number of the queue.
    pub number: u32,
}

/// A socket that takes packets of watched ports, or may take them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Its kind.
    pub kind: CaptureKind,
    /// Inode of the socket's network namespace; `None` where that may not be seen.
    pub netns_inode: Option<u32>,
    /// Inode; 0 if it is not known.
    pub inode: u32,
    /// Which packets it takes.
    pub scope: Scope,
    /// What it takes if it has no filter, as `every IPv4 packet`.
    pub unfiltered: &'static str,
    /// Where an AF_XDP socket is bound, if that is known.
    pub queue: Option<Queue>,
    /// Every process that has a descriptor of it, in the order of their ids.
    pub holders: Vec<Arc<Identity>>,
    /// Whether it may have holders although none was found.
    pub holders_unknown: bool,
}

impl CaptureKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::PacketSocket, Self::RawSocket, Self::Xdp];

    /// Name in events and the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PacketSocket => "packet_socket",
            Self::RawSocket => "raw_socket",
            Self::Xdp => "xdp",
        }
    }
}

impl Capture {
    /// Whether it takes packets of watched ports and no others.
    pub const fn is_targeted(&self) -> bool {
        matches!(self.scope, Scope::OnlyWatched(_))
    }

    /// What it takes, in words: `only port 2948/udp`, `everything`, `unknown`.
    pub fn filter(&self) -> String {
        match &self.scope {
            Scope::Nothing => "nothing of a watched port".to_owned(),
            Scope::OnlyWatched(ports) => format!("only {}", list(ports)),
            Scope::WatchedToo(ports) => format!("{} and other packets", list(ports)),
            Scope::Everything => self.unfiltered.to_owned(),
            Scope::Ebpf => "unknown: an eBPF program".to_owned(),
            Scope::Unknown => match &self.queue {
                Some(Queue { interface, number }) => {
                    format!("unknown: what an XDP program gives to queue {number} of {interface}")
                }
                None => "unknown".to_owned(),
            },
        }
    }
}

/// `port 2948/udp`, `ports 2948/udp, 2949/tcp and 3 more`.
fn list(ports: &[CapturedPort]) -> String {
    let mut text = String::from(if ports.len() == 1 { "port" } else { "ports" });
    for (index, CapturedPort { port, protocol }) in ports.iter().take(MAX_NAMED).enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma} {port}/{}", protocol.name());
    }
    match ports.len().saturating_sub(MAX_NAMED) {
        0 => {}
        rest => {
            let _ = write!(text, " and {rest} more");
        }
    }
    text
}

/// A packet socket of namespace 4026531840 without a holder.
#[cfg(test)]
pub(crate) fn packet_socket(scope: Scope) -> Capture {
    Capture {
        kind: CaptureKind::PacketSocket,
        netns_inode: Some(4_026_531_840),
        inode: 4711,
        scope,
        unfiltered: "everything",
        queue: None,
        holders: Vec::new(),
        holders_unknown: false,
    }
}

#[cfg(test)]
mod tests {
    use monitor_common::flow::Protocol;

    use super::*;

    #[test]
    fn describes_what_is_taken() {
        let ports = |count: u16| -> Vec<CapturedPort> {
            (0..count)
                .map(|index| CapturedPort { port: 2948 + index, protocol: Protocol::Udp })
                .collect()
        };
        let filter = |scope| packet_socket(scope).filter();
        assert_eq!(filter(Scope::OnlyWatched(ports(1))), "only port 2948/udp");
        assert_eq!(filter(Scope::OnlyWatched(ports(2))), "only ports 2948/udp, 2949/udp");
        let many = filter(Scope::WatchedToo(ports(11)));
        assert!(many.ends_with("2955/udp and 3 more and other packets"), "{many}");
        assert_eq!(filter(Scope::Everything), "everything");
        let ebpf = packet_socket(Scope::Ebpf);
        assert_eq!(ebpf.filter(), "unknown: an eBPF program");
        assert!(!ebpf.is_targeted());
        let queue = Some(Queue { interface: "eth0".to_owned(), number: 3 });
        let xdp = Capture { kind: CaptureKind::Xdp, queue, ..packet_socket(Scope::Unknown) };
        assert_eq!(xdp.filter(), "unknown: what an XDP program gives to queue 3 of eth0");
    }
}
