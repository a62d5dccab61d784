//! The lists of SCTP in `/proc/…/net/sctp` (`net/sctp/proc.c`).

use std::net::{IpAddr, SocketAddr};

use monitor_common::flow::Protocol;

use super::socket::{Entry, TcpState};

/// A line of `eps`: an endpoint that listens. `None` for the heading.
pub(super) fn endpoint(line: &str) -> Option<Entry> {
    let mut fields = line.split_ascii_whitespace();
    let state = fields.nth(3)?.parse().ok()?;
    let port = fields.nth(1)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    let local = SocketAddr::new(address(fields.next()?)?, port);
    let tcp_state = TcpState::from_number(state);
    Some(Entry {
        protocol: Protocol::Sctp,
        local,
        peer: None,
        tcp_state,
        inode,
        interface: 0,
        is_v6_only: None,
    })
}

/// A line of `assocs`: a connection. `None` for the heading.
pub(super) fn association(line: &str) -> Option<Entry> {
    let mut fields = line.split_ascii_whitespace();
    let inode = fields.nth(10)?.parse().ok()?;
    let local_port = fields.next()?.parse().ok()?;
    let peer_port = fields.next()?.parse().ok()?;
    let local = SocketAddr::new(address(fields.next()?)?, local_port);
    let mut peers = fields.skip_while(|field| *field != "<->").skip(1);
    let peer = SocketAddr::new(address(peers.next()?)?, peer_port);
    let tcp_state = Some(TcpState::Established);
    Some(Entry {
        protocol: Protocol::Sctp,
        local,
        peer: Some(peer),
        tcp_state,
        inode,
        interface: 0,
        is_v6_only: None,
    })
}

/// The first of an end's addresses; an asterisk marks the primary one.
fn address(text: &str) -> Option<IpAddr> {
    text.trim_start_matches('*').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_endpoint() {
        let line = "0000000012345678 00000000abcdef01 2   10  36   2948      0 4711 0.0.0.0 \n";
        let entry = endpoint(line).expect("an endpoint");
        assert_eq!(entry.local, "0.0.0.0:2948".parse().expect("an address"));
        assert_eq!((entry.tcp_state, entry.inode), (Some(TcpState::Listen), 4711));
        let heading = " ENDPT     SOCK   STY SST HBKT LPORT   UID INODE LADDRS\n";
        assert_eq!(endpoint(heading), None);
    }

    #[test]
    fn reads_an_association() {
        let line = "0000000012345678 00000000abcdef01 0   1   3  0       7        0        0       0 \
                    815 2948  40123  *127.0.0.1 10.0.0.1 <-> *10.0.0.2 fe80::1 \t    7500    10    10   10    0    0        0        1        0   212992   212992\n";
        let entry = association(line).expect("an association");
        assert_eq!(entry.local, "127.0.0.1:2948".parse().expect("an address"));
        assert_eq!(entry.peer, Some("10.0.0.2:40123".parse().expect("an address")));
        assert_eq!((entry.tcp_state, entry.inode), (Some(TcpState::Established), 815));
        let heading = " ASSOC     SOCK   STY SST ST HBKT ASSOC-ID TX_QUEUE RX_QUEUE UID INODE LPORT \
                       RPORT LADDRS <-> RADDRS HBINT INS OUTS MAXRT T1X T2X RTXC wmema wmemq sndbuf rcvbuf\n";
        assert_eq!(association(heading), None);
    }
}
