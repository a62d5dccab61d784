//! The kernel's list of sockets by `sock_diag(7)`, of the calling thread's network namespace.
//!
//! For few ports the kernel runs a filter and sends only sockets that have one of them
//! (`inet_diag_bc_run` in `net/ipv4/inet_diag.c`). For TCP the request has its older form, which
//! lists both families in one walk over the hash tables.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use bytemuck::{Pod, Zeroable};
use monitor_common::flow::Protocol;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

use super::socket::{Entry, TcpState};

/// With more ports everything is listed and filtered here: the kernel verifies a filter in quadratic
/// time.
const MAX_FILTERED_PORTS: usize = 16;

/// The kernel fills up to 32 KiB at once.
const RECEIVE_BYTES: usize = 64 * 1024;

/// Message types (`linux/inet_diag.h`, `linux/sock_diag.h`, `linux/netlink.h`).
const TCPDIAG_GETSOCK: u16 = 18;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// `NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH`.
const DUMP: u16 = 0x301;

/// The attribute that holds a filter.
const INET_DIAG_REQ_BYTECODE: u16 = 1;

/// `struct nlmsghdr`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Header {
    length: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
}

/// `struct inet_diag_sockid`; ports and addresses are in network byte order.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SocketId {
    local_port: [u8; 2],
    peer_port: [u8; 2],
    local_address: [u8; 16],
    peer_address: [u8; 16],
    interface: u32,
    cookie: [u32; 2],
}

/// `struct inet_diag_req`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct TcpRequest {
    family: u8,
    prefixes: [u8; 2],
    extensions: u8,
    id: SocketId,
    states: u32,
    tables: u32,
}

/// `struct inet_diag_req_v2`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Request {
    family: u8,
    protocol: u8,
    extensions: u8,
    padding: u8,
    states: u32,
    id: SocketId,
}

/// `struct inet_diag_msg`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Answer {
    family: u8,
    state: u8,
    timer: u8,
    retransmits: u8,
    id: SocketId,
    expires: u32,
    receive_queue: u32,
    send_queue: u32,
    user: u32,
    inode: u32,
}

/// Calls `visit` with every TCP and UDP socket of the calling thread's network namespace that has
/// one of these ports at one of its ends, and, where the ports are many, with all others too.
pub(super) fn list(ports: &[u16], mut visit: impl FnMut(Entry)) -> io::Result<()> {
    const UDP: u8 = 17;
    let filter = filter(ports);
    let every_state = u32::MAX;
    let tcp = TcpRequest { states: every_state, ..TcpRequest::zeroed() };
    let tcp = message(TCPDIAG_GETSOCK, bytemuck::bytes_of(&tcp), &filter);
    dump(&tcp, Protocol::Tcp, &mut visit)?;
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        let family = family.as_raw() as u8;
        let udp = Request { family, protocol: UDP, states: every_state, ..Request::zeroed() };
        let udp = message(SOCK_DIAG_BY_FAMILY, bytemuck::bytes_of(&udp), &filter);
        dump(&udp, Protocol::Udp, &mut visit)?;
    }
    Ok(())
}

fn dump(request: &[u8], protocol: Protocol, visit: &mut impl FnMut(Entry)) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC;
    let kind = Some(netlink::SOCK_DIAG);
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, kind)?;
    send(&socket, request, SendFlags::empty())?;
    let mut room = vec![0; RECEIVE_BYTES];
    loop {
        let (_, length) = recv(&socket, room.as_mut_slice(), RecvFlags::TRUNC)?;
        let datagram = room.get(..length).ok_or(io::ErrorKind::InvalidData)?;
        if read(datagram, protocol, visit)? == Progress::Done {
            return Ok(());
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    More,
    Done,
}

/// Reads the messages of a datagram.
fn read(
    mut datagram: &[u8],
    protocol: Protocol,
    visit: &mut impl FnMut(Entry),
) -> io::Result<Progress> {
    while !datagram.is_empty() {
        let header: Header = beginning(datagram).ok_or(io::ErrorKind::InvalidData)?;
        let length = header.length as usize;
        let body = datagram.get(size_of::<Header>()..length).ok_or(io::ErrorKind::InvalidData)?;
        match header.kind {
            NLMSG_DONE => return Ok(Progress::Done),
            NLMSG_ERROR => {
                let errno: i32 = beginning(body).ok_or(io::ErrorKind::InvalidData)?;
                return Err(io::Error::from_raw_os_error(errno.saturating_neg()));
            }
            _ => {}
        }
        let answer: Answer = beginning(body).ok_or(io::ErrorKind::InvalidData)?;
        if let Some(entry) = answer.entry(protocol) {
            visit(entry);
        }
        // Every message begins at a multiple of four.
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Progress::More)
}

fn beginning<T: Pod>(bytes: &[u8]) -> Option<T> {
    bytes.get(..size_of::<T>()).map(bytemuck::pod_read_unaligned)
}

impl Answer {
    /// `None` for a family other than IPv4 and IPv6.
    fn entry(&self, protocol: Protocol) -> Option<Entry> {
        let end = |address, port| {
            Some(SocketAddr::new(ip(self.family, address)?, u16::from_be_bytes(port)))
        };
        let peer = end(self.id.peer_address, self.id.peer_port)?;
        Some(Entry {
            protocol,
            local: end(self.id.local_address, self.id.local_port)?,
            peer: (peer.port() != 0).then_some(peer),
            tcp_state: (protocol == Protocol::Tcp)
                .then(|| TcpState::from_number(self.state))
                .flatten(),
            inode: self.inode,
        })
    }
}

fn ip(family: u8, address: [u8; 16]) -> Option<IpAddr> {
    let [a, b, c, d, ..] = address;
    match AddressFamily::from_raw(family.into()) {
        AddressFamily::INET => Some(Ipv4Addr::new(a, b, c, d).into()),
        AddressFamily::INET6 => Some(Ipv6Addr::from(address).into()),
        _ => None,
    }
}

fn message(kind: u16, request: &[u8], filter: &[u8]) -> Vec<u8> {
    let attribute = if filter.is_empty() {
        Vec::new()
    } else {
        let head = [4 + filter.len() as u16, INET_DIAG_REQ_BYTECODE];
        [bytemuck::bytes_of(&head), filter].concat()
    };
    let length = (size_of::<Header>() + request.len() + attribute.len()) as u32;
    let header = Header { length, kind, flags: DUMP, sequence: 1, port: 0 };
    [bytemuck::bytes_of(&header), request, &attribute].concat()
}

/// `struct inet_diag_bc_op`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Operation {
    code: u8,
    /// Bytes to jump if the test holds.
    yes: u8,
    /// Bytes to jump if it does not; in the operation behind a test of a port, that port.
    no: u16,
}

/// A filter that accepts sockets with one of these ports; empty if there are too many.
///
/// A program accepts by jumping exactly to its end, and rejects by jumping beyond. Each test is
/// followed by a jump to the end, because a test itself cannot jump that far.
fn filter(ports: &[u16]) -> Vec<u8> {
    const JUMP: u8 = 1;
    const LOCAL_PORT_IS: u8 = 11;
    const PEER_PORT_IS: u8 = 12;
    /// A test with its port and the jump.
    const STEP: usize = 3 * size_of::<Operation>();
    if ports.len() > MAX_FILTERED_PORTS {
        return Vec::new();
    }
    let tests = ports.iter().flat_map(|&port| [(LOCAL_PORT_IS, port), (PEER_PORT_IS, port)]);
    let last = ports.len() * 2 - 1;
    let mut program = Vec::new();
    for (index, (code, port)) in tests.enumerate() {
        let operation = size_of::<Operation>();
        let to_end = (last - index) * STEP + operation;
        let next = if index == last { STEP + operation } else { STEP };
        program.extend([
            Operation { code, yes: 2 * operation as u8, no: next as u16 },
            Operation { code: 0, yes: 0, no: port },
            Operation { code: JUMP, yes: operation as u8, no: to_end as u16 },
        ]);
    }
    bytemuck::cast_slice(&program).to_vec()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    /// `inet_diag_bc_run`, for the operations that a filter has.
    fn accepts(program: &[u8], local: u16, peer: u16) -> bool {
        let operation = |at: usize| beginning::<Operation>(&program[at..]).expect("in range");
        let (mut at, end) = (0, program.len());
        while at < end {
            let Operation { code, yes, no } = operation(at);
            let holds = match code {
                1 => false,
                11 => local == operation(at + 4).no,
                12 => peer == operation(at + 4).no,
                _ => panic!("operation {code}"),
            };
            at += if holds { usize::from(yes) } else { usize::from(no) };
        }
        at == end
    }

    #[test]
    fn filter_accepts_these_ports_only() {
        let ports: Vec<u16> = (0..16).map(|index| 2900 + index * 3).collect();
        for length in 1..=ports.len() {
            let (watched, program) = (&ports[..length], filter(&ports[..length]));
            for port in 2890..2960 {
                let is_watched = watched.contains(&port);
                assert_eq!(accepts(&program, port, 1), is_watched, "{port} of {watched:?}");
                assert_eq!(accepts(&program, 1, port), is_watched, "{port} of {watched:?}");
            }
        }
        assert!(filter(&(1..=17).collect::<Vec<u16>>()).is_empty());
    }

    /// Sockets with a local `port` in the list that is filtered for `ports`.
    fn listed(ports: &[u16], port: u16) -> Vec<(Protocol, Option<TcpState>, Option<SocketAddr>)> {
        let mut found = Vec::new();
        let visit = |entry: Entry| {
            if entry.local.port() == port {
                found.push((entry.protocol, entry.tcp_state, entry.peer));
            }
        };
        list(ports, visit).expect("sock_diag");
        found
    }

    #[test]
    fn kernel_lists_sockets_of_these_ports() {
        let listener = TcpListener::bind("[::1]:0").expect("bound");
        let server = listener.local_addr().expect("an address");
        let client = TcpStream::connect(server).expect("connected");
        let client = client.local_addr().expect("an address");
        let datagrams = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let udp = datagrams.local_addr().expect("an address").port();
        for others in [0, 30] {
            let mut ports = vec![server.port(), udp];
            ports.extend(60_000..60_000 + others);
            let tcp = listed(&ports, server.port());
            assert!(tcp.contains(&(Protocol::Tcp, Some(TcpState::Listen), None)), "{tcp:?}");
            let connected = (Protocol::Tcp, Some(TcpState::Established), Some(client));
            assert!(tcp.contains(&connected), "{tcp:?}");
            assert_eq!(listed(&ports, udp), [(Protocol::Udp, None, None)]);
        }
        assert!(listed(&[server.port()], udp).is_empty());
    }

    #[test]
    fn returns_the_errno_of_a_refusal() {
        let errno = -libc::ENOENT;
        let header = Header { length: 36, kind: NLMSG_ERROR, flags: 0, sequence: 1, port: 0 };
        let refusal = [bytemuck::bytes_of(&header), &errno.to_ne_bytes(), &[0; 16]].concat();
        let error = read(&refusal, Protocol::Tcp, &mut |_| panic!("no entry"));
        assert_eq!(error.expect_err("an error").raw_os_error(), Some(libc::ENOENT));
        for length in 1..refusal.len() {
            assert!(read(&refusal[..length], Protocol::Tcp, &mut |_| ()).is_err(), "{length}");
        }
    }
}
