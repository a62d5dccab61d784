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

/// Set by hand in `src/probe_modules/packet.c` of ZMap.
const ZMAP_ID: u16 = 54321;

/// The tool whose fields have the most evidence. A field of 16 bits alone is met by chance in every
/// scan of some size.
fn tool(syn: &Syn<'_>) -> Identification {
    let candidates = [zmap(syn), masscan(syn), nmap(syn)].into_iter().flatten();
    candidates.max_by_key(|found| found.grade).unwrap_or_else(|| {
        Identification::suspect(
            Verdict::ScanSyn,
            "a SYN that never became a connection; a client that got no answer looks the same",
        )
    })
}

/// IP identification, window, options as one of ZMap's versions sends them, and a time to live that
/// began at 255.
fn zmap(syn: &Syn<'_>) -> Option<Identification> {
    /// MSS 1460, SACK, and a window scale of 8, with what pads them: ZMap's default since version 4.
    const WINDOWS: &[u8] = &[2, 4, 5, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2];
    let ipv4 = syn.ipv4.filter(|ipv4| ipv4.id == ZMAP_ID && syn.window == 65535)?;
    let of_options = if is_bare(syn) || syn.options == WINDOWS { 8 } else { 0 };
    let of_ttl = if ipv4.ttl > 128 { 3 } else { 0 };
    Identification::graded(
        Verdict::ScanZmap,
        16 + 4 + of_options + of_ttl,
        "a SYN with ZMap's IP identification 54321 and window 65535, and no connection",
    )
}

/// IP identification, window, no options but one, and a time to live that began at 255.
fn masscan(syn: &Syn<'_>) -> Option<Identification> {
    let is_id =
        syn.ipv4.is_some_and(|ipv4| ipv4.id == masscan_id(ipv4.destination, syn)) && is_bare(syn);
    let is_window = is_bare(syn) && matches!(syn.window, 1024 | 1025);
    let of_ttl = if syn.ipv4.is_some_and(|ipv4| ipv4.ttl > 128) { 3 } else { 0 };
    let (bits, reason) = match (is_id, is_window) {
        (true, true) => (
            16 + 14 + 6 + of_ttl,
            "a SYN whose IP identification masscan computes from address, port and sequence \
             number, with masscan's window, and no connection",
        ),
        (true, false) => (
            16 + of_ttl,
            "a SYN whose IP identification is what masscan computes, with another window, and no \
             connection",
        ),
        (false, _) if is_window && syn.window == 1025 => {
            (16 + 6, "a SYN with window 1025, as masscan sends it, and no connection")
        }
        _ => return None,
    };
    Identification::graded(Verdict::ScanMasscan, bits, reason)
}

/// `libnetutil/netutil.cc` of Nmap.
fn nmap(syn: &Syn<'_>) -> Option<Identification> {
    (syn.window == 1024 && syn.options == ONLY_MSS).then(|| {
        Identification::consistent(
            Verdict::ScanNmap,
            "a SYN with window 1024 and MSS 1460 alone, as Nmap's SYN scan sends it, and no \
             connection",
        )
    })
}

fn is_bare(syn: &Syn<'_>) -> bool {
    syn.options.is_empty() || syn.options == ONLY_MSS
}

/// A TCP segment that is no SYN and belongs to no connection.
#[derive(Clone, Copy, Debug)]
pub struct Stray<'a> {
    /// What IPv4 carried it with; `None` for IPv6.
    pub ipv4: Option<Ipv4Header>,
    /// Flags of TCP: FIN, SYN, RST, PSH, ACK and URG from the lowest bit on.
    pub flags: u8,
    /// Window, as it is in the header.
    pub window: u16,
    /// Options of TCP, as far as they were captured.
    pub options: &'a [u8],
}

/// Identifies a scan by the flags of a segment that belongs to no connection; `None` where a
/// connection that began before the capture has such segments as well.
pub fn identify_stray(stray: &Stray<'_>) -> Option<Identification> {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const PSH: u8 = 0x08;
    const ACK: u8 = 0x10;
    const URG: u8 = 0x20;
    const XMAS: u8 = FIN | PSH | URG;
    const MAIMON: u8 = FIN | ACK;
    const SYN_FIN: u8 = SYN | FIN;
    const ALL: u8 = 0x3f;
    // Nmap draws its window from four, and sends no options; a stack sends timestamps.
    let is_nmap = matches!(stray.window, 1024 | 2048 | 3072 | 4096) && stray.options.is_empty();
    let (scan, of_flags) = match stray.flags & ALL {
        0 => ("NULL", 20),
        FIN => ("FIN", 14),
        XMAS => ("XMAS", 24),
        SYN_FIN => ("SYN and FIN", 20),
        ALL => ("all flags", 20),
        MAIMON if is_nmap => ("Maimon", 0),
        ACK if is_nmap => ("ACK", 0),
        _ => return None,
    };
    let found = if is_nmap {
        Identification::graded(
            Verdict::ScanNmap,
            of_flags + 20,
            "a segment of no connection, with the flags of a scan and one of Nmap's windows",
        )
    } else {
        Identification::graded(
            Verdict::ScanStealth,
            of_flags,
            "a segment of no connection, with flags that no connection begins with",
        )
    }?;
    let mut details = Details::default();
    details.set("scan", scan);
    if let Some(ipv4) = stray.ipv4 {
        details.set("ip_id", ipv4.id);
        details.set("ttl", ipv4.ttl);
    }
    details.set("window", stray.window);
    Some(found.with(details))
}

/// `ip_id = ip_them ^ port_them ^ seqno`, `templ-pkt.c` of masscan.
fn masscan_id(destination: Ipv4Addr, syn: &Syn<'_>) -> u16 {
    (destination.to_bits() ^ u32::from(syn.destination_port) ^ syn.sequence) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Grade;

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
    fn a_field_of_16_bits_confirms_nothing() {
        let masscan = 0x0207 ^ 2948 ^ 0x5678;
        let grade = |syn: &Syn<'_>| identify_syn(syn).grade;
        assert_eq!(verdict(&syn(54321, 64240, LINUX_OPTIONS)), Verdict::ScanSyn);
        assert_eq!(verdict(&syn(masscan, 64240, LINUX_OPTIONS)), Verdict::ScanSyn);
        assert_eq!(grade(&syn(masscan, 64240, &[])), Grade::Suspect);
        assert_eq!(grade(&syn(masscan, 1024, &[])), Grade::Confirmed);
        assert_eq!(grade(&syn(54321, 65535, &[])), Grade::Confirmed);
        assert_eq!(grade(&syn(54321, 65535, LINUX_OPTIONS)), Grade::Consistent);
    }

    #[test]
    fn flags_that_no_connection_begins_with_are_a_scan() {
        let verdict = |flags, window, options| {
            let stray = Stray { ipv4: None, flags, window, options };
            identify_stray(&stray).map(|found| found.verdict)
        };
        for flags in [0x00, 0x01, 0x29, 0x11, 0x10] {
            assert_eq!(verdict(flags, 1024, &[]), Some(Verdict::ScanNmap), "{flags:#x}");
        }
        assert_eq!(verdict(0x29, 502, LINUX_OPTIONS), Some(Verdict::ScanStealth));
        assert_eq!(verdict(0x10, 502, LINUX_OPTIONS), None);
        assert_eq!(verdict(0x11, 502, LINUX_OPTIONS), None);
    }

    #[test]
    fn without_ipv4_the_rest_counts() {
        let over_ipv6 = Syn { ipv4: None, ..syn(0, 1024, ONLY_MSS) };
        assert_eq!(verdict(&over_ipv6), Verdict::ScanNmap);
        assert_eq!(verdict(&Syn { window: 64240, ..over_ipv6 }), Verdict::ScanSyn);
    }
}
