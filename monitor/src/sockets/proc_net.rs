//! The kernel's list of sockets in `/proc/…/net`: for namespaces that may not be entered, and for
//! kernels without `sock_diag`. It is slower to read, and lacks TCP sockets that are bound and
//! neither listen nor are connected.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use monitor_common::flow::Protocol;

use super::{
    sctp,
    socket::{Entry, TcpState},
};

/// Calls `visit` with every TCP and UDP socket of the namespace whose `net` folder this is.
pub(super) fn list(folder: &Path, mut visit: impl FnMut(Entry)) -> io::Result<()> {
    for (name, protocol) in [
        ("tcp", Protocol::Tcp),
        ("tcp6", Protocol::Tcp),
        ("udp", Protocol::Udp),
        ("udp6", Protocol::Udp),
    ] {
        let is_there = each_line(&folder.join(name), |line| {
            if let Some(entry) = entry(line, protocol) {
                visit(entry);
            }
        })?;
        // A kernel may have no IPv6.
        if !is_there && !name.ends_with('6') {
            return Err(io::ErrorKind::NotFound.into());
        }
    }
    Ok(())
}

/// Calls `visit` with every UDP-Lite socket, every listener and every association of SCTP. Their files
/// exist while the kernel has the protocol; to ask by `sock_diag` could load a module.
///
/// An SCTP socket that is bound and neither listens nor has an association is in no list
/// (`sctp_hash_endpoint` in `net/sctp/input.c`).
pub(super) fn list_rare(folder: &Path, mut visit: impl FnMut(Entry)) -> io::Result<()> {
    for name in ["udplite", "udplite6"] {
        each_line(&folder.join(name), |line| {
            if let Some(entry) = entry(line, Protocol::UdpLite) {
                visit(entry);
            }
        })?;
    }
    for (name, parse) in
        [("sctp/eps", sctp::endpoint as fn(&str) -> _), ("sctp/assocs", sctp::association)]
    {
        each_line(&folder.join(name), |line| {
            if let Some(entry) = parse(line) {
                visit(entry);
            }
        })?;
    }
    Ok(())
}

/// The connected TCP socket with these ends, and its user.
pub(super) fn find_tcp(
    folder: &Path,
    local: SocketAddr,
    peer: SocketAddr,
) -> io::Result<Option<(Entry, u32)>> {
    let mut found = None;
    for name in ["tcp", "tcp6"] {
        each_line(&folder.join(name), |line| {
            let is_it = |entry: &Entry| entry.joins(local, peer);
            if let Some(entry) = entry(line, Protocol::Tcp).filter(is_it) {
                // Behind ends, state, queues, timer and retransmits.
                let user = line.split_ascii_whitespace().nth(7).and_then(|user| user.parse().ok());
                found = user.map(|user| (entry, user));
            }
        })?;
    }
    Ok(found)
}

/// Whether the file exists.
fn each_line(path: &Path, mut visit: impl FnMut(&str)) -> io::Result<bool> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    let mut lines = BufReader::new(file);
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        visit(&line);
        line.clear();
    }
    Ok(true)
}

/// `None` for the heading.
fn entry(line: &str, protocol: Protocol) -> Option<Entry> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = end(fields.next()?)?;
    let peer = end(fields.next()?)?;
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    // Queues, timer, retransmits, user, timeout.
    let inode = fields.nth(5)?.parse().ok()?;
    Some(Entry {
        protocol,
        local,
        peer: (peer.port() != 0).then_some(peer),
        tcp_state: (protocol == Protocol::Tcp).then(|| TcpState::from_number(state)).flatten(),
        inode,
        interface: 0,
        is_v6_only: None,
    })
}

/// Address and port. The address is written as 32-bit words in this machine's byte order.
fn end(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| {
        let word = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let address: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn reads_lines_of_both_families() {
        let line = "   1: 0100007F:0B84 0200007F:E10E 01 00000000:00000001 00:00000000 00000000     \
                    0        0 23910106 2 000000006189e9b7 100 0 0 10 0\n";
        let established = Entry {
            protocol: Protocol::Tcp,
            local: "127.0.0.1:2948".parse().expect("an address"),
            peer: Some("127.0.0.2:57614".parse().expect("an address")),
            tcp_state: Some(TcpState::Established),
            inode: 23_910_106,
            interface: 0,
            is_v6_only: None,
        };
        assert_eq!(entry(line, Protocol::Tcp), Some(established));
        let line = "  345: 00000000000000000000000001000000:0B84 \
                    00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000 \
                    1000        0 4711 2 0000000000000000 0\n";
        let unconnected = Entry {
            protocol: Protocol::Udp,
            local: "[::1]:2948".parse().expect("an address"),
            peer: None,
            tcp_state: None,
            inode: 4711,
            interface: 0,
            is_v6_only: None,
        };
        assert_eq!(entry(line, Protocol::Udp), Some(unconnected));
        for end in 0..line.find("4711").expect("an inode") {
            assert_eq!(entry(&line[..end], Protocol::Udp), None, "{end}");
        }
        let titles = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
                      uid  timeout inode";
        assert_eq!(entry(titles, Protocol::Tcp), None);
    }

    #[test]
    fn reads_what_the_kernel_writes() {
        let socket = UdpSocket::bind("[::1]:0").expect("bound");
        let local = socket.local_addr().expect("an address");
        let mut found = 0;
        list(Path::new("/proc/self/net"), |entry| {
            found += u32::from(entry.local == local && entry.protocol == Protocol::Udp);
        })
        .expect("lists");
        assert_eq!(found, 1);
    }
}
