//! Packet, raw and AF_XDP sockets in `/proc/…/net`, without their filters.

use std::{fs, io, path::Path};

/// A packet socket: `SOCK_…`, `ETH_P_…`, inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PacketLine {
    pub(super) kind: u8,
    pub(super) protocol: u16,
    pub(super) inode: u32,
}

/// A raw socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RawLine {
    /// Whether it is of IPv6.
    pub(super) is_ipv6: bool,
    /// `IPPROTO_…`.
    pub(super) protocol: u8,
    pub(super) inode: u32,
}

/// The packet sockets of the namespace whose `net` folder this is. Empty where the kernel has no
/// packet sockets.
pub(super) fn packet_sockets(folder: &Path) -> io::Result<Vec<PacketLine>> {
    Ok(read(&folder.join("packet"))?.lines().filter_map(packet_line).collect())
}

/// The raw sockets of the namespace whose `net` folder this is.
pub(super) fn raw_sockets(folder: &Path) -> io::Result<Vec<RawLine>> {
    let mut sockets = Vec::new();
    for (name, is_ipv6) in [("raw", false), ("raw6", true)] {
        let text = read(&folder.join(name))?;
        sockets.extend(text.lines().filter_map(|line| raw_line(line, is_ipv6)));
    }
    Ok(sockets)
}

/// How many AF_XDP sockets the namespace has whose `net` folder this is.
pub(super) fn xdp_sockets(folder: &Path) -> io::Result<usize> {
    Ok(read(&folder.join("protocols"))?.lines().find_map(xdp_line).unwrap_or(0))
}

/// A list; empty where the kernel has none.
fn read(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        text => text,
    }
}

/// `sk RefCnt Type Proto Iface R Rmem User Inode`; `None` for the heading.
fn packet_line(line: &str) -> Option<PacketLine> {
    let mut fields = line.split_ascii_whitespace();
    let kind = fields.nth(2)?.parse().ok()?;
    let protocol = u16::from_str_radix(fields.next()?, 16).ok()?;
    Some(PacketLine { kind, protocol, inode: fields.nth(4)?.parse().ok()? })
}

/// As a line of UDP, with the protocol in place of the local port.
fn raw_line(line: &str, is_ipv6: bool) -> Option<RawLine> {
    let mut fields = line.split_ascii_whitespace();
    let (_, protocol) = fields.nth(1)?.split_once(':')?;
    let protocol = u16::from_str_radix(protocol, 16).ok()?;
    let inode = fields.nth(7)?.parse().ok()?;
    Some(RawLine { is_ipv6, protocol: protocol.try_into().ok()?, inode })
}

/// Name, size of a socket, number of sockets.
fn xdp_line(line: &str) -> Option<usize> {
    let mut fields = line.split_ascii_whitespace();
    if fields.next()? != "XDP" {
        return None;
    }
    fields.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_packet_socket() {
        let line = "00000000f2ab4f8c 3      3    0003   2     1 0      0      41234 ";
        assert_eq!(packet_line(line), Some(PacketLine { kind: 3, protocol: 3, inode: 41_234 }));
        let titles = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode";
        assert_eq!(packet_line(titles), None);
    }

    #[test]
    fn reads_a_raw_socket() {
        let line = "  17: 00000000:0011 00000000:0000 07 00000000:00000000 00:00000000 00000000     \
                    0        0 41235 2 0000000000000000 0";
        let udp = RawLine { is_ipv6: false, protocol: 17, inode: 41_235 };
        assert_eq!(raw_line(line, false), Some(udp));
        let titles = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
                      uid  timeout inode ref pointer drops";
        assert_eq!(raw_line(titles, false), None);
    }

    #[test]
    fn reads_the_number_of_xdp_sockets() {
        let line = "XDP       1216      2      -1   NI       0   no   kernel      n  n  n  n";
        assert_eq!(xdp_line(line), Some(2));
        assert_eq!(xdp_line(&line.replace("XDP", "UDP")), None);
    }
}
