//! The steps: each performs calls, and returns those that must be reported.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    os::fd::{BorrowedFd, OwnedFd},
    thread,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, Protocol, RawProtocol, SocketType, bind, connect, getsockname, listen,
        sockopt,
    },
};
use testkit::{
    calls::{
        Call, NOBODY, as_user, at, bind_udp_in_use, bind_udp_twice, bound_life, listening_life,
        own_socket, privileged, refusal, sharing_listener, tcp, udp, v4,
    },
    child::{forked, left_open},
    compat,
    namespaces::enter_new_users,
    uring,
    world::{Peer, port, set_sysctl},
};

/// Offsets of the ports that port 0 may land on.
pub(super) const AUTOMATIC: std::ops::Range<u16> = 60..80;

/// Performs a step and returns the calls that must be reported; `None` where this kernel cannot do it.
pub(super) type Act = fn() -> Option<Vec<Call>>;

pub(super) const SCRIPT: &[(&str, Act)] = &[
    ("TCP server over IPv4", || Some(server(AddressFamily::INET, v4(port(0))))),
    ("TCP server over IPv6", || Some(server(AddressFamily::INET6, at("::1", port(1))))),
    ("TCP server, dual-stack", || Some(server(AddressFamily::INET6, at("::", port(2))))),
    ("TCP socket that never listens", || {
        Some(unused(tcp(AddressFamily::INET), "tcp", v4(port(3))))
    }),
    ("UDP socket over IPv4", || Some(unused(udp(AddressFamily::INET), "udp", v4(port(4))))),
    ("UDP socket over IPv6", || Some(unused(udp(AddressFamily::INET6), "udp", at("::1", port(5))))),
    ("UDP socket, dual-stack", || {
        Some(unused(udp(AddressFamily::INET6), "udp", at("::", port(6))))
    }),
    ("MPTCP server", multipath_server),
    ("refused: EADDRINUSE", in_use),
    ("refused: EACCES", denied),
    ("refused: EADDRNOTAVAIL", not_ours),
    ("refused: bound already", bound_already),
    ("TCP, port 0", || Some(automatic("tcp", AddressFamily::INET, "127.0.0.1"))),
    ("TCP, port 0, dual-stack", || Some(automatic("tcp", AddressFamily::INET6, "::"))),
    ("UDP, port 0", || Some(automatic("udp", AddressFamily::INET, "0.0.0.0"))),
    ("UDP, port 0, IPv6", || Some(automatic("udp", AddressFamily::INET6, "::1"))),
    ("TCP client with a port of its choice", || Some(client(port(10)))),
    ("TCP client that bound port 0", || Some(client(0))),
    ("TCP client that bound nothing", unbound_client),
    ("UDP sender that bound nothing", unbound_sender),
    ("SO_REUSEPORT, twice", reuse_port),
    ("thread that is not the leader", other_thread),
    ("other network namespace", other_network),
    ("other user namespace", other_user_namespace),
    ("end of a process that listens", end_without_close),
    ("process of a millisecond", short_life),
    ("refused: EADDRINUSE at listen", listen_in_use),
    ("listen without a bind", unbound_listen),
    ("bind by io_uring", uring_bind),
    ("bind by io_uring, refused", uring_refused),
    ("listen by io_uring", uring_listen),
    ("listen by io_uring, refused", uring_listen_in_use),
    ("listen by io_uring, without a bind", uring_unbound_listen),
    ("bind by a 32-bit system call", compat_bind),
    ("bind by a 32-bit system call, refused", compat_refused),
];

pub(super) fn server(family: AddressFamily, address: SocketAddr) -> Vec<Call> {
    serve(tcp(family), address)
}

pub(super) fn multipath_server() -> Option<Vec<Call>> {
    const MPTCP: u32 = 262;
    let protocol = RawProtocol::new(MPTCP).map(Protocol::from_raw);
    let socket = own_socket(AddressFamily::INET, SocketType::STREAM, protocol).ok()?;
    Some(serve(socket, v4(port(23))))
}

pub(super) fn serve(socket: OwnedFd, address: SocketAddr) -> Vec<Call> {
    bind(&socket, &address).expect("bound");
    listen(&socket, 1).expect("listening");
    listening_life("tcp", address).to_vec()
}

pub(super) fn unused(socket: OwnedFd, transport: &'static str, address: SocketAddr) -> Vec<Call> {
    bind(&socket, &address).expect("bound");
    bound_life(transport, address).to_vec()
}

pub(super) fn in_use() -> Option<Vec<Call>> {
    let address = v4(port(7));
    let holder = TcpListener::bind(address).expect("bound");
    assert_eq!(bind(tcp(AddressFamily::INET), &address), Err(Errno::ADDRINUSE));
    drop(holder);
    let [bound, listens, close] = listening_life("tcp", address);
    let tcp = [bound, listens, refusal("in_use", "tcp", address, "EADDRINUSE"), close];
    let udp = bind_udp_in_use(port(8));
    Some(tcp.into_iter().chain(udp).collect())
}

pub(super) fn denied() -> Option<Vec<Call>> {
    let (four, six) = (v4(privileged()), at("::1", privileged()));
    let thread_id = as_user("nobody", NOBODY, NOBODY, || {
        assert_eq!(bind(tcp(AddressFamily::INET), &four), Err(Errno::ACCESS));
        assert_eq!(bind(udp(AddressFamily::INET6), &six), Err(Errno::ACCESS));
    });
    let by = |call: Call| call.by("nobody", thread_id, NOBODY, NOBODY);
    let calls = [refusal("denied", "tcp", four, "EACCES"), refusal("denied", "udp", six, "EACCES")];
    Some(calls.map(by).to_vec())
}

pub(super) fn not_ours() -> Option<Vec<Call>> {
    let (four, six) = (at("203.0.113.1", port(9)), at("2001:db8:ffff::1", port(9)));
    assert_eq!(bind(tcp(AddressFamily::INET), &four), Err(Errno::ADDRNOTAVAIL));
    assert_eq!(bind(udp(AddressFamily::INET6), &six), Err(Errno::ADDRNOTAVAIL));
    let [tcp, udp] = [("tcp", four), ("udp", six)]
        .map(|(transport, address)| refusal("error", transport, address, "EADDRNOTAVAIL"));
    Some(vec![tcp, udp])
}

pub(super) fn bound_already() -> Option<Vec<Call>> {
    Some(bind_udp_twice(v4(port(11)), v4(port(12))).to_vec())
}

/// Makes the kernel choose watched ports, of this network namespace.
pub(super) fn with_automatic_ports<T>(work: impl FnOnce() -> T) -> T {
    const RANGE: &str = "net/ipv4/ip_local_port_range";
    set_sysctl(RANGE, &format!("{} {}", port(AUTOMATIC.start), port(AUTOMATIC.end - 1)));
    let result = work();
    set_sysctl(RANGE, "32768 60999");
    result
}

pub(super) fn automatic(
    transport: &'static str,
    family: AddressFamily,
    address: &str,
) -> Vec<Call> {
    let socket = if transport == "tcp" { tcp(family) } else { udp(family) };
    with_automatic_ports(|| bind(&socket, &at(address, 0)).expect("bound"));
    bound_life(transport, own_address(&socket)).to_vec()
}

pub(super) fn own_address(socket: &OwnedFd) -> SocketAddr {
    getsockname(socket).expect("a name").try_into().expect("an address")
}

/// Holds its port until it closes, connected or not.
pub(super) fn client(local_port: u16) -> Vec<Call> {
    let server = TcpListener::bind("127.0.0.1:9").expect("bound");
    let socket = tcp(AddressFamily::INET);
    with_automatic_ports(|| bind(&socket, &v4(local_port)).expect("bound"));
    connect(&socket, &v4(9)).expect("connected");
    let accepted = server.accept().expect("accepted");
    let address = own_address(&socket);
    drop(socket);
    drop(accepted);
    bound_life("tcp", address).to_vec()
}

pub(super) fn unbound_client() -> Option<Vec<Call>> {
    let server = TcpListener::bind("127.0.0.1:9").expect("bound");
    let client = with_automatic_ports(|| TcpStream::connect(v4(9)).expect("connected"));
    let accepted = server.accept().expect("accepted");
    assert!(is_automatic(client.local_addr().expect("an address")));
    drop((client, accepted));
    Some(Vec::new())
}

pub(super) fn unbound_sender() -> Option<Vec<Call>> {
    let receiver = UdpSocket::bind("127.0.0.1:9").expect("bound");
    let sender = udp(AddressFamily::INET);
    with_automatic_ports(|| connect(&sender, &v4(9)).expect("connected"));
    assert!(is_automatic(own_address(&sender)));
    drop((sender, receiver));
    Some(Vec::new())
}

pub(super) fn is_automatic(address: SocketAddr) -> bool {
    (port(AUTOMATIC.start)..port(AUTOMATIC.end)).contains(&address.port())
}

pub(super) fn reuse_port() -> Option<Vec<Call>> {
    let address = v4(port(13));
    drop([sharing_listener(address), sharing_listener(address)]);
    let [bind, listen, close] = listening_life("tcp", address);
    Some([&bind, &listen, &bind, &listen, &close, &close].map(Clone::clone).to_vec())
}

pub(super) fn other_thread() -> Option<Vec<Call>> {
    let address = v4(port(14));
    let thread = thread::Builder::new().name("gp-binder".into());
    let thread = thread.spawn(move || server(AddressFamily::INET, address)).expect("spawned");
    let calls = thread.join().expect("no panic");
    assert!(calls.iter().all(|call| call.thread == "gp-binder" && call.pid != call.thread_id));
    Some(calls)
}

pub(super) fn other_network() -> Option<Vec<Call>> {
    let peer = Peer::alone();
    Some(peer.run(|| server(AddressFamily::INET, v4(port(15)))))
}

/// Binds a socket and leaves it open, in a child that does nothing but system calls.
pub(super) fn bind_for_good(
    kind: SocketType,
    address: SocketAddr,
) -> rustix::io::Result<BorrowedFd<'static>> {
    let socket = own_socket(AddressFamily::INET, kind, None)?;
    bind(&socket, &address)?;
    Ok(left_open(socket))
}

pub(super) fn end_without_close() -> Option<Vec<Call>> {
    let address = v4(port(16));
    let child = forked(|| {
        bind_for_good(SocketType::STREAM, address).is_ok_and(|socket| listen(socket, 1).is_ok())
    });
    let child = child.expect("bound");
    Some(listening_life("tcp", address).map(|call| call.by_child(child)).to_vec())
}

pub(super) fn short_life() -> Option<Vec<Call>> {
    let address = v4(port(17));
    let child = forked(|| bind_for_good(SocketType::DGRAM, address).is_ok()).expect("bound");
    Some(bound_life("udp", address).map(|call| call.by_child(child)).to_vec())
}

/// Root of a user namespace has no privilege in the network namespace outside.
pub(super) fn other_user_namespace() -> Option<Vec<Call>> {
    let (denied, bound) = (v4(privileged()), v4(port(18)));
    let child = forked(|| {
        enter_new_users()
            && bind_for_good(SocketType::STREAM, denied).err() == Some(Errno::ACCESS)
            && bind_for_good(SocketType::DGRAM, bound).is_ok()
    })?;
    let denied = refusal("denied", "tcp", denied, "EACCES");
    let [bound, close] = bound_life("udp", bound);
    Some([denied, bound, close].map(|call| call.by_child(child)).to_vec())
}

pub(super) fn uring_bind() -> Option<Vec<Call>> {
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port(19));
    let socket = tcp(AddressFamily::INET);
    assert_eq!(uring::bind(&socket, address)?, 0);
    Some(bound_life("tcp", address.into()).to_vec())
}

pub(super) fn uring_refused() -> Option<Vec<Call>> {
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port(20));
    let holder = TcpListener::bind(address).expect("bound");
    let errno = uring::bind(&tcp(AddressFamily::INET), address);
    drop(holder);
    assert_eq!(errno?, Errno::ADDRINUSE.raw_os_error());
    let [bound, listens, close] = listening_life("tcp", address.into());
    let refused = refusal("in_use", "tcp", address.into(), "EADDRINUSE");
    Some(vec![bound, listens, refused, close])
}

/// Two sockets that may share a port until one of them listens (`SO_REUSEADDR`).
fn both_bound(address: SocketAddr) -> [OwnedFd; 2] {
    [(); 2].map(|()| {
        let socket = tcp(AddressFamily::INET);
        sockopt::set_socket_reuseaddr(&socket, true).expect("an option");
        bind(&socket, &address).expect("bound");
        socket
    })
}

/// What is reported if `listen` is called for both of them.
fn one_listens(address: SocketAddr, listen: impl Fn(&OwnedFd) -> Option<i32>) -> Option<Vec<Call>> {
    let [one, another] = both_bound(address);
    let (first, second) = (listen(&one), listen(&another));
    drop(another);
    drop(one);
    assert_eq!((first?, second?), (0, Errno::ADDRINUSE.raw_os_error()));
    let [bound, listens, close] = listening_life("tcp", address);
    let [_, other_close] = bound_life("tcp", address);
    Some(vec![bound.clone(), bound, listens, other_close, close])
}

pub(super) fn listen_in_use() -> Option<Vec<Call>> {
    one_listens(v4(port(24)), |socket| {
        Some(listen(socket, 1).map_or_else(Errno::raw_os_error, |()| 0))
    })
}

/// The kernel chooses the port.
fn listens_unbound(listen: impl Fn(&OwnedFd) -> Option<i32>) -> Option<Vec<Call>> {
    let socket = tcp(AddressFamily::INET);
    let errno = with_automatic_ports(|| listen(&socket));
    assert_eq!(errno?, 0);
    let [_, listens, close] = listening_life("tcp", own_address(&socket));
    Some(vec![listens, close])
}

pub(super) fn unbound_listen() -> Option<Vec<Call>> {
    listens_unbound(|socket| Some(listen(socket, 1).map_or_else(Errno::raw_os_error, |()| 0)))
}

pub(super) fn uring_listen() -> Option<Vec<Call>> {
    let address = v4(port(25));
    let socket = tcp(AddressFamily::INET);
    bind(&socket, &address).expect("bound");
    let errno = uring::listen(&socket);
    drop(socket);
    (errno? == 0).then(|| listening_life("tcp", address).to_vec())
}

pub(super) fn uring_listen_in_use() -> Option<Vec<Call>> {
    one_listens(v4(port(26)), uring::listen)
}

pub(super) fn uring_unbound_listen() -> Option<Vec<Call>> {
    listens_unbound(uring::listen)
}

pub(super) fn compat_bind() -> Option<Vec<Call>> {
    let address = v4(port(21));
    let child = forked(|| compat::bind(address.port()) == Some(0))?;
    Some(bound_life("udp", address).map(|call| call.by_child(child)).to_vec())
}

pub(super) fn compat_refused() -> Option<Vec<Call>> {
    let address = v4(port(22));
    let holder = UdpSocket::bind(address).expect("bound");
    let child = forked(|| compat::bind(address.port()) == Some(Errno::ADDRINUSE.raw_os_error()));
    drop(holder);
    let [bound, close] = bound_life("udp", address);
    let refused = refusal("in_use", "udp", address, "EADDRINUSE").by_child(child?);
    Some(vec![bound, refused, close])
}
