//! The holders of sockets. The kernel side iterates over all open files, and finds sockets that are
//! in no list of `/proc`.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    process::{self, Child, Command, Stdio},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use ghostport::api::{
    port::{Port, Ports},
    socket::Socket,
};
use monitor_common::flow::Protocol;
use testkit::{
    agent::{Agent, Config, finish, ghostport, json},
    namespaces::{enter_new_network, spawn_with_own_descriptors},
    patience,
    privileges::{Privileges, SOMEBODY},
    sh,
    world::{World, in_world, netns_inode, port},
};

fn config() -> Config {
    Config::new([port(0), port(1)])
}

/// The sockets in a namespace that the agent has found on a port when it last looked.
fn sockets(agent: &Agent, netns_inode: u64, port: u16) -> Vec<Socket> {
    let view: Port = agent.ask(&format!("/api/v1/ports/{port}"));
    view.sockets.into_iter().filter(|socket| is_in(socket, netns_inode)).collect()
}

fn is_in(socket: &Socket, netns_inode: u64) -> bool {
    socket.netns_inode.map(u64::from) == Some(netns_inode)
}

/// The same, when it has found so many: an agent is ready before it has looked.
#[track_caller]
fn found(agent: &Agent, netns_inode: u64, port: u16, count: usize) -> Vec<Socket> {
    let mut last = Vec::new();
    let deadline = Instant::now() + patience();
    while Instant::now() < deadline {
        last = sockets(agent, netns_inode, port);
        if last.len() == count {
            return last;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{count} sockets on port {port} were expected: {last:#?}");
}

fn pids(socket: &Socket) -> BTreeSet<u32> {
    socket.holders.as_ref().expect("holders").iter().map(|holder| holder.pid).collect()
}

fn these(pids: &[u32]) -> BTreeSet<u32> {
    pids.iter().copied().collect()
}

/// Sockets in a network namespace that nothing but they keep: the thread that made it is gone.
struct Lost {
    netns_inode: u64,
    datagrams: UdpSocket,
    _listener: TcpListener,
    _client: TcpStream,
    _server: TcpStream,
}

impl Lost {
    fn make() -> Self {
        let make = || {
            enter_new_network();
            sh("ip link set lo up");
            let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, port(1))).expect("bound");
            let client = TcpStream::connect((Ipv6Addr::LOCALHOST, port(1))).expect("connected");
            let (server, _) = listener.accept().expect("accepted");
            Self {
                netns_inode: netns_inode(),
                datagrams: UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port(0))).expect("bound"),
                _listener: listener,
                _client: client,
                _server: server,
            }
        };
        thread::spawn(make).join().expect("sockets")
    }
}

/// A process that has a socket as its standard input.
struct Cat(Child);

impl Cat {
    fn start(socket: &UdpSocket) -> Self {
        let socket = OwnedFd::from(socket.try_clone().expect("a descriptor"));
        let cat = Command::new("cat").stdin(Stdio::from(socket)).stdout(Stdio::null()).spawn();
        Self(cat.expect("spawned"))
    }
}

impl Drop for Cat {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Checks that an agent with these privileges finds what `check` cannot, as it only has lists.
fn assert_finds_the_lost(world: &World, agent: impl FnOnce(&World, &Config) -> Agent) {
    let lost = Lost::make();
    let cat = Cat::start(&lost.datagrams);
    let agent = agent(world, &config());

    let [socket] = &found(&agent, lost.netns_inode, port(0), 1)[..] else {
        unreachable!("there is one")
    };
    assert_eq!(socket.transport, Protocol::Udp, "{socket:#?}");
    assert_eq!(pids(socket), these(&[process::id(), cat.0.id()]), "{socket:#?}");

    let sockets = found(&agent, lost.netns_inode, port(1), 3);
    for socket in &sockets {
        assert_eq!(pids(socket), these(&[process::id()]), "{socket:#?}");
    }
    let state = |socket: &Socket| socket.tcp_state.map_or("none", |state| state.name());
    let mut states: Vec<&str> = sockets.iter().map(state).collect();
    states.sort_unstable();
    assert_eq!(states, ["established", "established", "listen"], "{sockets:#?}");

    let check = finish(ghostport().args(["check", &port(0).to_string(), "--json"]));
    let page: Ports = json(&check);
    let mut listed = page.ports[0].sockets.iter();
    assert!(!listed.any(|socket| is_in(socket, lost.netns_inode)), "a list has them: {page:#?}");
}

#[test]
fn root_finds_sockets_that_are_in_no_list() {
    in_world(|world| assert_finds_the_lost(world, Agent::start));
}

#[test]
fn a_user_with_five_capabilities_finds_sockets_in_no_list() {
    in_world(|world| {
        world.give_to(SOMEBODY);
        assert_finds_the_lost(world, |world, config| {
            let command = Privileges::usual(SOMEBODY).ghostport(world, &["run"]);
            Agent::launch(world, config, command)
        });
    });
}

/// A socket that is both in a list and among the open files is reported once, with every process that
/// holds it, also where only one thread of a process has the descriptor.
#[test]
fn reports_a_listed_socket_once() {
    in_world(|world| {
        let (end, ended) = channel::<()>();
        let (announce, announced) = channel();
        let thread = spawn_with_own_descriptors(move || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port(0))).expect("bound");
            announce.send(()).expect("a listener");
            let _ = ended.recv();
            drop(socket);
        });
        announced.recv().expect("bound");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port(1))).expect("bound");
        // In the queue of the listener: no process has accepted the connection yet.
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port(1))).expect("connected");
        let agent = Agent::start(world, &config());

        let here = netns_inode();
        let [socket] = &found(&agent, here, port(0), 1)[..] else { unreachable!("there is one") };
        assert_eq!(pids(socket), these(&[process::id()]), "{socket:#?}");
        let held = found(&agent, here, port(1), 3);
        let nobodys = held.iter().filter(|socket| pids(socket).is_empty()).count();
        assert_eq!(nobodys, 1, "{held:#?}");
        drop((listener, client, end));
        thread.join().expect("no panic");
    });
}
