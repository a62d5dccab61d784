//! Link layers of captures, www.tcpdump.org/linktypes.html: where the IP packet begins.

use monitor_common::packet::ethertype;

mod linktype {
    pub(super) const NULL: i32 = 0;
    pub(super) const ETHERNET: i32 = 1;
    /// What some systems write in place of `RAW`.
    pub(super) const RAW_OF_BSD: i32 = 12;
    pub(super) const RAW_OF_OPENBSD: i32 = 14;
    pub(super) const RAW: i32 = 101;
    pub(super) const LOOP: i32 = 108;
    pub(super) const LINUX_SLL: i32 = 113;
    pub(super) const IPV4: i32 = 228;
    pub(super) const IPV6: i32 = 229;
    pub(super) const LINUX_SLL2: i32 = 276;
}

/// VLAN tags that are walked; more than anybody has.
const MAX_TAGS: usize = 8;

/// What a link layer carries.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Carried<'a> {
    /// IP of this version, from its first byte.
    Ip {
        /// IPv4's or IPv6's.
        ethertype: u16,
        /// The packet and what pads it.
        bytes: &'a [u8],
    },
    /// Something else.
    Other,
    /// The packet ends inside the header.
    Cut,
    /// This link layer is not known here.
    Unsupported,
}

/// Takes the link layer off a packet.
pub(super) fn strip(linktype: i32, packet: &[u8]) -> Carried<'_> {
    match linktype {
        linktype::ETHERNET => tagged(packet.get(12..)),
        linktype::LINUX_SLL => tagged(packet.get(14..)),
        linktype::LINUX_SLL2 => {
            let (Some([high, low, ..]), Some(rest)) = (packet.get(..2), packet.get(20..)) else {
                return Carried::Cut;
            };
            untagged(u16::from_be_bytes([*high, *low]), rest)
        }
        // The family's number differs between systems: the version of IP is in the packet.
        linktype::NULL | linktype::LOOP => packet.get(4..).map_or(Carried::Cut, by_version),
        linktype::RAW
        | linktype::RAW_OF_BSD
        | linktype::RAW_OF_OPENBSD
        | linktype::IPV4
        | linktype::IPV6 => by_version(packet),
        _ => Carried::Unsupported,
    }
}

/// A type and what it announces.
fn tagged(bytes: Option<&[u8]>) -> Carried<'_> {
    let Some(([high, low], rest)) = bytes.and_then(<[u8]>::split_first_chunk) else {
        return Carried::Cut;
    };
    untagged(u16::from_be_bytes([*high, *low]), rest)
}

/// Walks VLAN tags: two bytes of tag, then the next type.
fn untagged(mut ethertype: u16, mut rest: &[u8]) -> Carried<'_> {
    for _ in 0..MAX_TAGS {
        if !matches!(ethertype, ethertype::VLAN | ethertype::SERVICE_VLAN | 0x9100) {
            break;
        }
        let Some(([_, _, high, low], after)) = rest.split_first_chunk() else {
            return Carried::Cut;
        };
        ethertype = u16::from_be_bytes([*high, *low]);
        rest = after;
    }
    match ethertype {
        ethertype::IPV4 | ethertype::IPV6 => Carried::Ip { ethertype, bytes: rest },
        _ => Carried::Other,
    }
}

fn by_version(bytes: &[u8]) -> Carried<'_> {
    let ethertype = match bytes.first().map(|first| first >> 4) {
        Some(4) => ethertype::IPV4,
        Some(6) => ethertype::IPV6,
        Some(_) => return Carried::Other,
        None => return Carried::Cut,
    };
    Carried::Ip { ethertype, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: [u8; 3] = [0x45, 1, 2];

    fn behind(header: &[u8]) -> Vec<u8> {
        [header, &IP].concat()
    }

    #[test]
    fn ip_begins_behind_every_link_layer() {
        let mut sll = vec![0; 14];
        sll.extend([8, 0]);
        let mut sll2 = vec![8, 0];
        sll2.resize(20, 0);
        let mut tagged = vec![0; 12];
        tagged.extend([0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 8, 0]);
        for (linktype, header) in [
            (linktype::ETHERNET, tagged),
            (linktype::LINUX_SLL, sll),
            (linktype::LINUX_SLL2, sll2),
            (linktype::NULL, vec![2, 0, 0, 0]),
            (linktype::LOOP, vec![0, 0, 0, 2]),
            (linktype::RAW, vec![]),
        ] {
            let packet = behind(&header);
            let ip = Carried::Ip { ethertype: ethertype::IPV4, bytes: &IP };
            assert_eq!(strip(linktype, &packet), ip, "{linktype}");
            let cut = &packet[..header.len().saturating_sub(1)];
            assert_eq!(strip(linktype, cut), Carried::Cut, "{linktype}");
        }
    }

    #[test]
    fn what_is_not_ip_is_said() {
        let mut arp = vec![0; 12];
        arp.extend([8, 6, 0]);
        assert_eq!(strip(linktype::ETHERNET, &arp), Carried::Other);
        assert_eq!(strip(linktype::RAW, &[0x15]), Carried::Other);
        assert_eq!(strip(147, &[0x45]), Carried::Unsupported);
    }
}
