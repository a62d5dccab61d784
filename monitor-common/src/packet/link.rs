//! The Ethernet header and its VLAN tags.

use super::{
    bytes::PacketBytes,
    ethertype,
    network::parse_network,
    parsed::{Parsed, TRUNCATED},
};
use crate::unclassified::Unclassified;

/// VLAN tags that are walked: one 802.1ad service tag and one 802.1Q customer tag.
pub const MAX_VLAN_TAGS: usize = 2;

pub(super) const ETHERNET_LEN: usize = 14;
const VLAN_TAG_LEN: usize = 4;

/// Parses a packet that starts with an Ethernet header.
#[inline(always)]
pub fn parse_ethernet<P: PacketBytes + ?Sized>(packet: &P) -> Parsed {
    let mut scratch = [0; ETHERNET_LEN / 2];
    let Some(header) = packet.words(0, &mut scratch) else {
        return TRUNCATED;
    };
    let mut ethertype = u16::from_be(header[6]);
    let mut offset = ETHERNET_LEN;
    for _ in 0..MAX_VLAN_TAGS {
        if !is_vlan(ethertype) {
            break;
        }
        let mut scratch = [0; VLAN_TAG_LEN / 2];
        let Some(tag) = packet.words(offset, &mut scratch) else {
            return TRUNCATED;
        };
        ethertype = u16::from_be(tag[1]);
        offset += VLAN_TAG_LEN;
    }
    if is_vlan(ethertype) {
        return Parsed::unclassified_by(Unclassified::VlanTags);
    }
    parse_network(packet, ethertype, offset)
}

/// Parses a packet that starts with its IP header, as devices without a link layer carry it.
///
/// `ethertype` is the packet's protocol in host byte order.
#[inline(always)]
pub fn parse_ip<P: PacketBytes + ?Sized>(packet: &P, ethertype: u16) -> Parsed {
    parse_network(packet, ethertype, 0)
}

/// Whether an Ethernet frame carries neither IP nor a VLAN tag, behind which IP could be: a shortcut
/// for [`parse_ethernet`], which says the same.
#[inline(always)]
pub fn is_not_ip<P: PacketBytes + ?Sized>(packet: &P) -> bool {
    let mut scratch = [0; ETHERNET_LEN / 2];
    let Some(header) = packet.words(0, &mut scratch) else { return false };
    let ethertype = u16::from_be(header[6]);
    !matches!(ethertype, ethertype::IPV4 | ethertype::IPV6) && !is_vlan(ethertype)
}

#[inline(always)]
const fn is_vlan(ethertype: u16) -> bool {
    matches!(ethertype, ethertype::VLAN | ethertype::SERVICE_VLAN)
}
