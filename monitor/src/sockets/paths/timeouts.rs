//! When a tracked connection had its last packet: an entry's timeout begins again with each
//! (`nf_ct_refresh_acct`, `net/netfilter/nf_conntrack_core.c`).

use std::{fs, path::Path};

use monitor_common::flow::Protocol;
use monitor_kernel::netlink::Attributes;

/// Bits that say how far a connection has come (`linux/netfilter/nf_conntrack_common.h`).
pub(super) const CTA_STATUS: u16 = 3;

/// Seconds until the entry is forgotten (`linux/netfilter/nfnetlink_conntrack.h`).
const CTA_TIMEOUT: u16 = 7;

/// `IPS_ASSURED`: several packets went both ways.
const IS_ASSURED: u32 = 4;

/// Seconds without a packet after which a conversation without an end counts as over, if no rule leads
/// to its target any more. TCP has keep-alives at best; it may be silent for as long as a state lasts.
const TCP_IS_IDLE: u32 = 300;
const UDP_IS_IDLE: u32 = 10;

/// How long entries last after a packet, in seconds; `None` if it is unknown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timeouts {
    established: Option<u32>,
    udp: Option<u32>,
    udp_stream: Option<u32>,
}

impl Timeouts {
    /// Those of the calling thread's network namespace.
    pub(super) fn here() -> Self {
        let read = |name| {
            let path = Path::new("/proc/sys/net/netfilter").join(name);
            fs::read_to_string(path).ok()?.trim().parse().ok()
        };
        Self {
            established: read("nf_conntrack_tcp_timeout_established"),
            udp: read("nf_conntrack_udp_timeout"),
            udp_stream: read("nf_conntrack_udp_timeout_stream"),
        }
    }

    /// Whether a connection that is not over has had no packet lately, as far as that is known.
    pub(super) fn is_idle(&self, protocol: Protocol, connection: Attributes<'_>) -> bool {
        let is_assured = connection.be32(CTA_STATUS).is_some_and(|status| status & IS_ASSURED != 0);
        let (lasts, limit) = match protocol {
            Protocol::Tcp => (self.established, TCP_IS_IDLE),
            Protocol::Udp if is_assured => (self.udp_stream, UDP_IS_IDLE),
            Protocol::Udp => (self.udp, UDP_IS_IDLE),
            Protocol::UdpLite | Protocol::Sctp => return false,
        };
        let left = connection.be32(CTA_TIMEOUT);
        // Of TCP, states that pass soon have other timeouts: they seem to be older, and are.
        lasts.zip(left).is_some_and(|(lasts, left)| lasts.saturating_sub(left) > limit)
    }
}

#[cfg(test)]
mod tests {
    use monitor_kernel::netlink::attribute;

    use super::*;

    fn is_idle(protocol: Protocol, status: u32, left: u32) -> bool {
        let be32 = |kind, value: u32| attribute(kind, &value.to_be_bytes());
        let bytes = [be32(CTA_STATUS, status), be32(CTA_TIMEOUT, left)].concat();
        let timeouts =
            Timeouts { established: Some(432_000), udp: Some(30), udp_stream: Some(120) };
        timeouts.is_idle(protocol, Attributes::behind(&bytes, 0))
    }

    #[test]
    fn the_last_packet_is_known_by_what_is_left() {
        assert!(!is_idle(Protocol::Tcp, IS_ASSURED, 431_700));
        assert!(is_idle(Protocol::Tcp, IS_ASSURED, 431_699));
        assert!(!is_idle(Protocol::Udp, 0, 20) && is_idle(Protocol::Udp, 0, 19));
        assert!(
            !is_idle(Protocol::Udp, IS_ASSURED, 110) && is_idle(Protocol::Udp, IS_ASSURED, 109)
        );
        assert!(!is_idle(Protocol::Sctp, IS_ASSURED, 0), "not known");
    }

    #[test]
    fn a_kernel_without_these_settings_says_nothing() {
        assert!(!Timeouts::default().is_idle(Protocol::Udp, Attributes::behind(&[], 0)));
    }
}
