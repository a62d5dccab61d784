//! Scanners by the headers of their first packet: half-open scans never send a payload.

use std::net::Ipv4Addr;

use crate::{
    Identification, Verdict,
    details::{Details, hex},
};

/// A TCP SYN that never became a connection.
#[derive(Clone, Copy, Debug)]
pub struct Syn<'a> {
    /// What IPv4 carried it with; `None` for IPv6.
    pub ipv4: Option<Ipv4Header>,
    /// Destination port.
    pub destination_port: u16,
    /// Sequence number.
    pub sequence: u32,
    /// Window, as it is in the header.
    pub window: u16,
    /// Options of TCP, as far as they were captured.
    pub options: &'a [u8],
}

/// The fields of IPv4 that tell scanners apart.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4Header {
    /// Identification.
    pub id: u16,
    /// Time to live as it arrived.
    pub ttl: u8,
    /// Where it goes.
    pub destination: Ipv4Addr,
}

/// MSS 1460 and nothing else.
const ONLY_MSS: &[u8] = &[2, 4, 5, 0xb4];

/// Says which scanner sent a SYN that never became a connection, or that it may have been one.
pub fn identify_syn(syn: &Syn<'_>) -> Identification {
    let mut details = Details::default();
    if let Some(ipv4) = syn.ipv4 {
        details.set("ip_id", ipv4.id);
        details.set("ttl", ipv4.ttl);
    }
    details.set("window", syn.window);
    if !syn.options.is_empty() {
        details.set("tcp_options", hex(syn.options));
    }
    tool(syn).with(details)
}

fn tool(syn: &Syn<'_>) -> Identification {
    /// Set by hand in `src/probe_modules/packet.c` of ZMap.
    const ZMAP_ID: u16 = 54321;
    let is_bare = syn.options.is_empty() || syn.options == ONLY_MSS;
    let id = syn.ipv4.map(|ipv4| ipv4.id);
    if id == Some(ZMAP_ID) && syn.window == 65535 {
        return Identification::confirmed(
            Verdict::ScanZmap,
            "a SYN with ZMap's IP identification 54321 and window 65535, and no connection",
        );
    }
    if syn.ipv4.is_some_and(|ipv4| ipv4.id == masscan_id(ipv4.destination, syn)) && is_bare {
        return Identification::confirmed(
            Verdict::ScanMasscan,
            "a SYN whose IP identification masscan computes from address, port and sequence \
             number, and no connection",
        );
    }
    if id == Some(ZMAP_ID) {
        return Identification::consistent(
            Verdict::ScanZmap,
            "a SYN with ZMap's IP identification 54321, and no connection",
        );
    }
    match syn.window {
        // `libnetutil/netutil.cc` of Nmap.
        1024 if syn.options == ONLY_MSS => Identification::consistent(
            Verdict::ScanNmap,
            "a SYN with window 1024 and MSS 1460 alone, as Nmap's SYN scan sends it, and no \
             connection",
        ),
        1025 if is_bare => Identification::consistent(
            Verdict::ScanMasscan,
            "a SYN with window 1025, as masscan sends it, and no connection",
        ),
        _ => Identification::suspect(
            Verdict::ScanSyn,
            "a SYN that never became a connection; a client that got no answer looks the same",
        ),
    }
}

/// `ip_id = ip_them ^ port_them ^ seqno`, `templ-pkt.c` of masscan.
fn masscan_id(destination: Ipv4Addr, syn: &Syn<'_>) -> u16 {
    (destination.to_bits() ^ u32::from(syn.destination_port) ^ syn.sequence) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINUX_OPTIONS: &[u8] = &[2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7];

    fn syn(id: u16, window: u16, options: &[u8]) -> Syn<'_> {
        let destination = Ipv4Addr::new(192, 0, 2, 7);
        Syn {
            ipv4: Some(Ipv4Header { id, ttl: 250, destination }),
            destination_port: 2948,
            sequence: 0x1234_5678,
            window,
            options,
        }
    }

    fn verdict(syn: &Syn<'_>) -> Verdict {
        identify_syn(syn).verdict
    }

    #[test]
    fn scanners_are_told_apart() {
        // 192.0.2.7 ^ 2948 ^ 0x12345678, lower half.
        let masscan = 0x0207 ^ 2948 ^ 0x5678;
        assert_eq!(verdict(&syn(54321, 65535, LINUX_OPTIONS)), Verdict::ScanZmap);
        assert_eq!(verdict(&syn(masscan, 1024, &[])), Verdict::ScanMasscan);
        assert_eq!(verdict(&syn(masscan, 1025, ONLY_MSS)), Verdict::ScanMasscan);
        assert_eq!(verdict(&syn(7, 1024, ONLY_MSS)), Verdict::ScanNmap);
        assert_eq!(verdict(&syn(7, 64240, LINUX_OPTIONS)), Verdict::ScanSyn);
    }

    #[test]
    fn without_ipv4_the_rest_counts() {
        let over_ipv6 = Syn { ipv4: None, ..syn(0, 1024, ONLY_MSS) };
        assert_eq!(verdict(&over_ipv6), Verdict::ScanNmap);
        assert_eq!(verdict(&Syn { window: 64240, ..over_ipv6 }), Verdict::ScanSyn);
    }
}
