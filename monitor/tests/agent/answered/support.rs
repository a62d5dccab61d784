//! What the tests of answers share: rules, servers that answer, and what the agent says of them.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;
use testkit::{
    agent::{Agent, Config, finish, ghostport, stderr, stdout},
    eventually, eventually_within,
    metrics::Metrics,
    patience, sh,
    world::{HERE, Peer, World, port, set_sysctl},
};

/// Where the servers of the tests really listen.
pub(super) const SERVER: u16 = 8080;

/// The watched port.
pub(super) fn watched() -> u16 {
    port(0)
}

/// Watches the port on the pair to the peer.
pub(super) fn config() -> Config {
    Config::new([watched()]).on(&["gp0"])
}

/// Adds rules to this thread's network namespace. Versions of nft before 1.0.7 take a closing brace
/// only where a line or a statement has ended.
pub(super) fn nft(rules: &str) {
    let rules = rules.replace(" }", "\n}") + "\n";
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nft");
    child.stdin.take().expect("piped").write_all(rules.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("waited");
    assert!(output.status.success(), "{rules}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A thread that ends with the test.
pub(super) struct Background {
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Repeats `work`, which returns soon when there is nothing to do.
    pub(super) fn repeat(mut work: impl FnMut() + Send + 'static) -> Self {
        let stops = Arc::new(AtomicBool::new(false));
        let must_stop = Arc::clone(&stops);
        let thread = thread::spawn(move || {
            while !must_stop.load(Ordering::Relaxed) {
                work();
            }
        });
        Self { stops, thread: Some(thread) }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        let _ = self.thread.take().expect("a thread").join();
    }
}

/// Accepts connections, answers each with a word and keeps it open.
pub(super) fn serve(listener: TcpListener) -> Background {
    let mut open = Vec::new();
    answer_each(listener, move |connection| open.push(connection))
}

/// Accepts connections, answers each with a word and closes it.
pub(super) fn serve_and_close(listener: TcpListener) -> Background {
    answer_each(listener, drop)
}

fn answer_each(
    listener: TcpListener,
    mut then: impl FnMut(TcpStream) + Send + 'static,
) -> Background {
    listener.set_nonblocking(true).expect("not blocking");
    Background::repeat(move || match listener.accept() {
        Ok((mut connection, _)) => {
            let _ = connection.write_all(b"hi");
            then(connection);
        }
        Err(_) => thread::sleep(Duration::from_millis(10)),
    })
}

/// Answers every datagram with itself.
pub(super) fn echo(socket: UdpSocket) -> Background {
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    Background::repeat(move || {
        let mut room = [0; 64];
        if let Ok((length, from)) = socket.recv_from(&mut room) {
            let _ = socket.send_to(&room[..length], from);
        }
    })
}

/// Another namespace with servers, behind this host.
pub(super) struct Backend {
    _servers: [Background; 2],
    pub(super) peer: Peer,
}

/// Makes one, at 10.9.1.2.
pub(super) fn backend(world: &World) -> Backend {
    let peer = Peer::alone();
    world.veth("gp1", &peer, "back0");
    sh("ip address add 10.9.1.1/24 dev gp1");
    let servers = peer.run(|| {
        sh("ip address add 10.9.1.2/24 dev back0");
        sh("ip route add default via 10.9.1.1");
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, SERVER)).expect("bound");
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, SERVER)).expect("bound");
        [serve(listener), echo(socket)]
    });
    set_sysctl("net/ipv4/ip_forward", "1");
    Backend { _servers: servers, peer }
}

/// A connection of the peer to `port` here that was answered; it stays open.
pub(super) fn connect(peer: &Peer, port: u16) -> TcpStream {
    peer.run(move || {
        let mut client = TcpStream::connect((HERE, port)).expect("connected");
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let mut answer = [0; 2];
        client.read_exact(&mut answer).expect("an answer");
        client
    })
}

/// A datagram of the peer to `port` here; whether it was answered in time.
pub(super) fn ask(peer: &Peer, port: u16, patience: Duration) -> bool {
    peer.run(move || {
        let client = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
        client.set_read_timeout(Some(patience)).expect("a timeout");
        client.connect(SocketAddr::from((HERE, port))).expect("connected");
        client.send(b"?").expect("sent");
        client.recv(&mut [0; 8]).is_ok()
    })
}

/// What the agent says of a port without a socket that is answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    pub(super) protocol: &'a str,
    pub(super) path: &'a str,
    pub(super) target: Option<&'a str>,
}

/// Waits until event, metrics and API agree that the port is answered. Returns what the API says.
#[track_caller]
pub(super) fn assert_answered(agent: &Agent, expected: Expected<'_>) -> Value {
    let Expected { protocol, path, target } = expected;
    // Where the machine is busy, one look takes long, and the next one waits many times as long.
    let event = eventually_within(2 * patience(), "an event", || {
        let mut events = agent.events().into_iter();
        events.find(|event| is_answered(event) && event["network.transport"] == protocol)
    });
    assert_eq!(event["network.local.port"], watched(), "{event}");
    assert_eq!(event["ghostport.path"], path, "{event}");
    assert_eq!(event["ghostport.path_target"].as_str(), target, "{event}");
    assert!(event["ghostport.count"].as_u64() >= Some(1), "{event}");
    let metrics = agent.metrics();
    assert!(answers(&metrics, protocol) >= 1, "{}", metrics.text);
    assert_eq!(state(&metrics), "answered");
    let view = view(agent);
    assert_eq!(view["state"], "answered", "{view:#}");
    let ways = view["answered_by"].as_array().cloned().unwrap_or_default();
    let way = ways.iter().find(|way| way["transport"] == protocol && way["path"] == path);
    let way = way.unwrap_or_else(|| panic!("no such way: {view:#}"));
    assert_eq!(way["target"].as_str(), target, "{way:#}");
    way.clone()
}

/// Checks that the agent, after it has seen packets and looked at the sockets, does not claim that
/// the port is answered by something else.
#[track_caller]
pub(super) fn assert_not_answered(agent: &Agent, state_is: &str) {
    eventually(state_is, || (state(&agent.metrics()) == state_is).then_some(()));
    // Two readings and a look.
    thread::sleep(Duration::from_millis(2500));
    let metrics = agent.metrics();
    for protocol in ["tcp", "udp"] {
        assert_eq!(answers(&metrics, protocol), 0, "{}", metrics.text);
    }
    assert!(!agent.events().iter().any(is_answered), "{:#?}", agent.events());
    assert_eq!(state(&metrics), state_is);
}

fn is_answered(event: &Value) -> bool {
    event["event.name"] == "ghostport.answered"
}

fn answers(metrics: &Metrics, protocol: &str) -> u64 {
    let labels = [("port", &*watched().to_string()), ("protocol", protocol)];
    metrics.sum("ghostport_answers_without_socket_total", &labels)
}

fn state(metrics: &Metrics) -> String {
    let port = watched().to_string();
    let states = metrics.series.iter().filter(|(name, labels, value)| {
        name == "ghostport_port_state" && labels["port"] == port && *value == 1.0
    });
    let states: Vec<&String> = states.map(|(_, labels, _)| &labels["state"]).collect();
    let [state] = states.as_slice() else { panic!("{states:?}") };
    state.to_string()
}

/// What the API says of the port.
pub(super) fn view(agent: &Agent) -> Value {
    let answer = agent.get(&format!("/api/v1/ports/{}", watched()));
    serde_json::from_str(&answer.body).expect("JSON")
}

/// What `check` says: the exit code, the port in the document, and the page.
pub(super) fn check() -> (Option<i32>, Value, String) {
    let port = watched().to_string();
    let output = finish(ghostport().args(["check", &port, "--json"]));
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)));
    let page = stdout(&finish(ghostport().args(["check", &port])));
    // A line that is too long for the page goes on in the next one.
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    (output.status.code(), document["ports"][0].clone(), page)
}

/// The name of this program in its own processes.
pub(super) fn own_name() -> String {
    let name = std::fs::read_to_string("/proc/self/comm").expect("a name");
    name.trim_end().to_owned()
}
