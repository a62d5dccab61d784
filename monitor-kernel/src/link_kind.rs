//! What an interface is: the word for it, and what that means for attaching.

use crate::netlink::Attributes;

/// `IFLA_TUN_TYPE` (`include/uapi/linux/if_link.h`) and its value for a tap device (`IFF_TAP`).
const TUN_TYPE: u16 = 3;
const TAP: u8 = 2;

/// Types of hardware, `include/uapi/linux/if_arp.h`.
mod hardware {
    pub(super) const ETHERNET: u16 = 1;
    pub(super) const PPP: u16 = 512;
    pub(super) const RAW_IP: u16 = 519;
    pub(super) const TUNNEL: u16 = 768;
    pub(super) const TUNNEL6: u16 = 769;
    pub(super) const LOOPBACK: u16 = 772;
    pub(super) const SIT: u16 = 776;
    pub(super) const GRE: u16 = 778;
    pub(super) const GRE6: u16 = 823;
    pub(super) const NONE: u16 = 0xfffe;
}

/// Kind of an interface's packets, which attaching depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Packets start with an Ethernet header.
    Ethernet,
    /// One end of a pair; native XDP is given the peer's super-packets, unless it declines them.
    Veth,
    /// A tap device, which hands over super-packets of its owner.
    Tap,
    /// A bond, which hands a program in its driver on to its ports.
    Bond,
    /// Packets start with an IP header: tun, WireGuard, tunnels.
    Ip,
    /// Neither, as of InfiniBand or a radio.
    Other,
}

impl Link {
    /// Whether packets start with an Ethernet header.
    pub const fn is_ethernet(self) -> bool {
        matches!(self, Self::Ethernet | Self::Veth | Self::Tap | Self::Bond)
    }
}

/// The word for an interface of the kernel's `kind`. The kernel has one for tun and tap devices; what
/// distinguishes them is in `data` since Linux 4.17, and their packets.
pub(crate) fn name<'a>(
    kind: Option<&'a str>,
    data: Option<Attributes<'_>>,
    hardware: u16,
) -> Option<&'a str> {
    if kind != Some("tun") {
        return kind;
    }
    let mode = data.and_then(|data| data.get(TUN_TYPE)?.first().copied());
    let is_tap = mode.map_or(hardware == hardware::ETHERNET, |mode| mode == TAP);
    Some(if is_tap { "tap" } else { "tun" })
}

/// The kind of packets of an interface with this hardware type and [`name`].
pub(crate) fn link(hardware: u16, kind: Option<&str>) -> Link {
    use hardware::{ETHERNET, GRE, GRE6, LOOPBACK, NONE, PPP, RAW_IP, SIT, TUNNEL, TUNNEL6};
    match (hardware, kind) {
        (ETHERNET, Some("veth")) => Link::Veth,
        (ETHERNET, Some("tap")) => Link::Tap,
        (ETHERNET, Some("bond")) => Link::Bond,
        (ETHERNET | LOOPBACK, _) => Link::Ethernet,
        (NONE | RAW_IP | PPP | TUNNEL | TUNNEL6 | SIT | GRE | GRE6, _) => Link::Ip,
        _ => Link::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::attribute;

    #[test]
    fn a_tap_is_no_tun() {
        let of = |mode: u8| attribute(TUN_TYPE, &[mode]);
        let name = |data: Option<&[u8]>, hardware| {
            name(Some("tun"), data.map(|data| Attributes::behind(data, 0)), hardware)
        };
        assert_eq!(name(Some(&of(2)), hardware::ETHERNET), Some("tap"));
        assert_eq!(name(Some(&of(1)), hardware::NONE), Some("tun"));
        assert_eq!(name(None, hardware::ETHERNET), Some("tap"));
        assert_eq!(name(None, hardware::NONE), Some("tun"));
    }

    #[test]
    fn packets_begin_as_the_hardware_says() {
        assert_eq!(link(hardware::ETHERNET, Some("veth")), Link::Veth);
        assert_eq!(link(hardware::LOOPBACK, None), Link::Ethernet);
        assert_eq!(link(hardware::NONE, Some("wireguard")), Link::Ip);
        assert_eq!(link(32, Some("ipoib")), Link::Other);
        for kind in ["veth", "tap", "bond", "vlan"] {
            assert!(link(hardware::ETHERNET, Some(kind)).is_ethernet(), "{kind}");
        }
        assert!(!link(hardware::NONE, Some("tun")).is_ethernet());
    }
}
