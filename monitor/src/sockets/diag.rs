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
use monitor_kernel::netlink::{self, Attributes, attribute, beginning};
use rustix::net::{AddressFamily, netlink::SOCK_DIAG};

use super::socket::{Entry, TcpState};

/// With more ports everything is listed and filtered here: the kernel verifies a filter in quadratic
/// time.
const MAX_FILTERED_PORTS: usize = 16;

/// Message types (`linux/inet_diag.h`, `linux/sock_diag.h`).
const TCPDIAG_GETSOCK: u16 = 18;
pub(super) const SOCK_DIAG_BY_FAMILY: u16 = 20;

/// The attribute that holds a filter.
const INET_DIAG_REQ_BYTECODE: u16 = 1;

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
    list_with_cookies(ports, |entry, _| visit(entry))
}

/// Calls `visit` with every TCP socket of the calling thread's network namespace that listens, and every
/// UDP socket that is not connected.
pub(super) fn list_acceptors(mut visit: impl FnMut(Entry)) -> io::Result<()> {
    const LISTEN: u32 = 1 << 10;
    /// `TCP_CLOSE`, which a UDP socket has unless it is connected.
    const CLOSE: u32 = 1 << 7;
    list_states([LISTEN, CLOSE], &[], &mut |entry, _| visit(entry))
}

/// The same with the kernel's cookie of each socket (`SO_COOKIE`).
pub(super) fn list_with_cookies(
    ports: &[u16],
    mut visit: impl FnMut(Entry, u64),
) -> io::Result<()> {
    list_states([u32::MAX; 2], &filter(ports), &mut visit)
}

/// The sockets of TCP and of UDP that are in one of these states, each a bit, and that a filter accepts.
fn list_states(
    [of_tcp, of_udp]: [u32; 2],
    filter: &[u8],
    visit: &mut impl FnMut(Entry, u64),
) -> io::Result<()> {
    const UDP: u8 = 17;
    let tcp = TcpRequest { states: of_tcp, ..TcpRequest::zeroed() };
    let tcp = netlink::request(TCPDIAG_GETSOCK, bytemuck::bytes_of(&tcp), filter);
    dump(&tcp, Protocol::Tcp, visit)?;
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        let family = family.as_raw() as u8;
        let udp = Request { family, protocol: UDP, states: of_udp, ..Request::zeroed() };
        let udp = netlink::request(SOCK_DIAG_BY_FAMILY, bytemuck::bytes_of(&udp), filter);
        dump(&udp, Protocol::Udp, visit)?;
    }
    Ok(())
}

/// The TCP socket with these ends, and its user. A listener answers for a connection that is not
/// there (`inet_diag_find_one_icsk`), so the caller has to compare the ends.
pub(super) fn find_tcp(local: SocketAddr, peer: SocketAddr) -> io::Result<Option<(Entry, u32)>> {
    const TCP: u8 = 6;
    let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let request = Request {
        family: family.as_raw() as u8,
        protocol: TCP,
        states: u32::MAX,
        id: SocketId::of(local, peer),
        ..Request::zeroed()
    };
    match netlink::get(Some(SOCK_DIAG), SOCK_DIAG_BY_FAMILY, bytemuck::bytes_of(&request)) {
        Ok(body) => {
            let answer: Answer = beginning(&body).ok_or(io::ErrorKind::InvalidData)?;
            Ok(answer.entry(Protocol::Tcp).map(|entry| (entry, answer.user)))
        }
        // Also of a kernel without `tcp_diag`.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn dump(request: &[u8], protocol: Protocol, visit: &mut impl FnMut(Entry, u64)) -> io::Result<()> {
    netlink::dump(Some(SOCK_DIAG), request, |body| {
        let answer: Answer = beginning(body).ok_or(io::ErrorKind::InvalidData)?;
        if let Some(mut entry) = answer.entry(protocol) {
            entry.is_v6_only = v6_only(body);
            let [low, high] = answer.id.cookie.map(u64::from);
            visit(entry, low | high << 32);
        }
        Ok(())
    })
}

/// Whether an IPv6 socket without a peer accepts no IPv4.
fn v6_only(body: &[u8]) -> Option<bool> {
    /// `INET_DIAG_SKV6ONLY` (`linux/inet_diag.h`).
    const V6_ONLY: u16 = 11;
    let value = Attributes::behind(body, size_of::<Answer>()).get(V6_ONLY)?;
    Some(*value.first()? != 0)
}

impl SocketId {
    /// Of a socket whose cookie is not known (`INET_DIAG_NOCOOKIE`).
    fn of(local: SocketAddr, peer: SocketAddr) -> Self {
        let [local_address, peer_address] = [local, peer].map(|end| match end.ip() {
            IpAddr::V4(address) => {
                let mut bytes = [0; 16];
                bytes[..4].copy_from_slice(&address.octets());
                bytes
            }
            IpAddr::V6(address) => address.octets(),
        });
        let [local_port, peer_port] = [local, peer].map(|end| end.port().to_be_bytes());
        let cookie = [u32::MAX; 2];
        Self { local_port, peer_port, local_address, peer_address, interface: 0, cookie }
    }
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
            interface: self.id.interface,
            is_v6_only: None,
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

/// The attribute with a filter that accepts sockets with one of these ports; empty if there are too
/// many.
fn filter(ports: &[u16]) -> Vec<u8> {
    let program = program(ports);
    if program.is_empty() {
        return program;
    }
    attribute(INET_DIAG_REQ_BYTECODE, &program)
}

/// The program of the filter.
///
/// A program accepts by jumping exactly to its end, and rejects by jumping beyond. Each test is
/// followed by a jump to the end, because a test itself cannot jump that far.
fn program(ports: &[u16]) -> Vec<u8> {
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
            let (watched, program) = (&ports[..length], program(&ports[..length]));
            for port in 2890..2960 {
                let is_watched = watched.contains(&port);
                assert_eq!(accepts(&program, port, 1), is_watched, "{port} of {watched:?}");
                assert_eq!(accepts(&program, 1, port), is_watched, "{port} of {watched:?}");
            }
        }
        assert!(program(&(1..=17).collect::<Vec<u16>>()).is_empty());
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
    fn kernel_says_which_sockets_accept_no_ipv4() {
        use rustix::net::{SocketType, bind, socket, sockopt::set_ipv6_v6only};
        let bound = [true, false].map(|v6_only| {
            let socket = socket(AddressFamily::INET6, SocketType::DGRAM, None).expect("a socket");
            set_ipv6_v6only(&socket, v6_only).expect("set");
            bind(&socket, &SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).expect("bound");
            UdpSocket::from(socket)
        });
        let ports = bound.each_ref().map(|one| one.local_addr().expect("an address").port());
        let mut found = Vec::new();
        list(&ports, |entry| found.push((entry.local.port(), entry.is_v6_only))).expect("a list");
        found.sort_by_key(|(port, _)| *port != ports[0]);
        assert_eq!(found, [(ports[0], Some(true)), (ports[1], Some(false))]);
    }
}
