//! Matches and targets of iptables inside rules of nftables, as `iptables-nft` writes them
//! (`linux/netfilter/xt_tcpudp.h`, `xt_multiport.h`, `nf_nat.h`, `xt_TPROXY.h`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use monitor_kernel::netlink::beginning;

use crate::sockets::{paths::route::Target, reach::Path};

/// Whether a match accepts the destination port; `None` if it is about something else.
pub(super) fn port_match(name: &str, info: &[u8], port: u16) -> Option<bool> {
    match name {
        "tcp" | "udp" => {
            // Ports of the source, then of the destination.
            let [_, _, first, last]: [u16; 4] = beginning(info)?;
            // Behind them TCP has option and flags.
            let inversions = *info.get(if name == "tcp" { 11 } else { 8 })?;
            const DESTINATION_INVERTED: u8 = 2;
            let is_any = (first, last) == (0, u16::MAX);
            let is_inverted = inversions & DESTINATION_INVERTED != 0;
            (!is_any).then(|| (first..=last).contains(&port) != is_inverted)
        }
        "multiport" => multiport(info, port),
        _ => None,
    }
}

/// `struct xt_multiport_v1`, which the older one begins like.
fn multiport(info: &[u8], port: u16) -> Option<bool> {
    const SOURCE: u8 = 0;
    const PORTS: usize = 15;
    let (kind, count) = (*info.first()?, usize::from(*info.get(1)?).min(PORTS));
    if kind == SOURCE {
        return None;
    }
    let ports: [u16; PORTS] = beginning(info.get(2..)?)?;
    let begins_range = info.get(32..47);
    let is_inverted = info.get(47).is_some_and(|inverted| *inverted != 0);
    let mut at = 0;
    let mut holds = false;
    while at < count {
        let first = *ports.get(at)?;
        let is_range = begins_range.and_then(|flags| flags.get(at)).is_some_and(|flag| *flag != 0);
        at += usize::from(is_range);
        holds |= (first..=*ports.get(at)?).contains(&port);
        at += 1;
    }
    Some(holds != is_inverted)
}

/// Where a target leads packets to `port`; `None` if it leads nowhere else.
pub(super) fn target(name: &str, revision: u32, info: &[u8], port: u16) -> Option<(Path, Target)> {
    let path = match name {
        "DNAT" => Path::Dnat,
        "REDIRECT" => Path::Redirect,
        "TPROXY" => return tproxy(revision, info, port),
        _ => return None,
    };
    const HAS_ADDRESS: u32 = 1;
    const HAS_PORT: u32 = 2;
    // Revision 0 has a count of ranges and addresses of four bytes (nf_nat_ipv4_multi_range_compat);
    // the others have addresses of sixteen (nf_nat_range). REDIRECT of IPv6 is of the second kind.
    let is_first_kind = revision == 0 && info.len() < 40;
    let (flags, address, at_port): (u32, IpAddr, &[u8]) = if is_first_kind {
        (beginning(info.get(4..)?)?, ipv4(info.get(8..)?)?, info.get(16..)?)
    } else {
        let address: [u8; 16] = beginning(info.get(4..)?)?;
        (beginning(info)?, ip(address), info.get(36..)?)
    };
    let address = (path == Path::Dnat && flags & HAS_ADDRESS != 0).then_some(address);
    let port = if flags & HAS_PORT == 0 { port } else { u16::from_be_bytes(beginning(at_port)?) };
    Some((path, Target { address, port }))
}

fn tproxy(revision: u32, info: &[u8], port: u16) -> Option<(Path, Target)> {
    // A mark and its mask come first.
    let (address, at_port) = if revision == 0 {
        (ipv4(info.get(8..)?)?, info.get(12..)?)
    } else {
        (ip(beginning(info.get(8..)?)?), info.get(24..)?)
    };
    let to = u16::from_be_bytes(beginning(at_port)?);
    let address = (!address.is_unspecified()).then_some(address);
    Some((Path::Tproxy, Target { address, port: if to == 0 { port } else { to } }))
}

fn ipv4(bytes: &[u8]) -> Option<IpAddr> {
    Some(Ipv4Addr::from(beginning::<[u8; 4]>(bytes)?).into())
}

/// An address of either family: one of IPv4 has its four bytes first and zeros behind.
fn ip(address: [u8; 16]) -> IpAddr {
    let [a, b, c, d, rest @ ..] = address;
    let is_v4 = rest == [0; 12];
    if is_v4 { Ipv4Addr::new(a, b, c, d).into() } else { Ipv6Addr::from(address).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_and_udp_matches_ask_for_the_destination_port() {
        let info = |ports: [u16; 4], rest: &[u8]| [bytemuck::bytes_of(&ports), rest].concat();
        let exact = info([0, u16::MAX, 2948, 2948], &[0, 0, 0, 0]);
        assert_eq!(port_match("tcp", &exact, 2948), Some(true));
        assert_eq!(port_match("tcp", &exact, 2949), Some(false));
        let inverted = info([0, u16::MAX, 2948, 2948], &[2]);
        assert_eq!(port_match("udp", &inverted, 2948), Some(false));
        let any = info([1, 2, 0, u16::MAX], &[0]);
        assert_eq!(port_match("udp", &any, 2948), None, "about the source");
    }

    #[test]
    fn multiport_knows_ranges() {
        let mut info = vec![1, 3];
        let mut ports = [0u16; 15];
        ports[..3].copy_from_slice(&[80, 2940, 2950]);
        info.extend_from_slice(bytemuck::bytes_of(&ports));
        let mut ranges = [0; 16];
        ranges[1] = 1;
        info.extend_from_slice(&ranges);
        assert_eq!(port_match("multiport", &info, 2948), Some(true));
        assert_eq!(port_match("multiport", &info, 80), Some(true));
        assert_eq!(port_match("multiport", &info, 81), Some(false));
    }
}
