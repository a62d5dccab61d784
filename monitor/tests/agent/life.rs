//! The states of a port, seen from outside: metrics, events, API and `check` report them, and they
//! survive an agent that is killed.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::net::UnixStream,
    process::{self, Command, Stdio},
    time::Duration,
};

use rustix::net::{AddressFamily, SocketType, connect, socket};
use serde_json::Value;
use testkit::{
    agent::{Agent, Config, finish, ghostport, stderr, stdout},
    eventually, eventually_within, patience, scaled,
    world::{HERE, Peer, World, in_world, port, set_sysctl},
};

fn watched() -> u16 {
    port(0)
}

fn config() -> Config {
    Config::new([watched()]).on(&["lo", "gp0"]).with_port_keys("dormant_after: 3s")
}

/// The agent's answer over its Unix socket.
fn ask(path: &str) -> Value {
    let mut stream = UnixStream::connect("/run/ghostport/api.sock").expect("the agent's socket");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")
        .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(body).expect("JSON")
}

/// Waits until the port is in this state, by the API and by the metrics.
#[track_caller]
fn assert_state(agent: &Agent, state: &str, dormant: bool) -> Value {
    let path = format!("/api/v1/ports/{}", watched());
    let mut last = Value::Null;
    let view = eventually(&format!("{state}, dormant {dormant}"), || {
        last = ask(&path);
        (last["state"] == state && last["dormant"] == dormant).then(|| last.clone())
    });
    let metrics = agent.metrics();
    let port = watched().to_string();
    let port = ("port", port.as_str());
    assert_eq!(metrics.value("ghostport_port_state", &[port, ("state", state)]), 1.0);
    assert_eq!(metrics.value("ghostport_dormant", &[port]), f64::from(u8::from(dormant)));
    view
}

fn awakenings(agent: &Agent, cause: &str) -> u64 {
    let port = watched().to_string();
    agent.metrics().sum("ghostport_awakenings_total", &[("port", &port), ("cause", cause)])
}

/// The newest event of this kind about the watched port.
fn newest(agent: &Agent, kind: &str) -> Value {
    eventually(kind, || {
        agent.events().into_iter().rfind(|event| {
            event["event.name"] == format!("ghostport.{kind}")
                && event["network.local.port"] == watched()
        })
    })
}

fn probe(peer: &Peer) {
    peer.run(|| {
        let address = SocketAddr::from((HERE, watched()));
        // Nothing listens there, so the kernel answers with a reset, as it would a scanner.
        let refused = TcpStream::connect_timeout(&address, Duration::from_secs(5));
        assert!(refused.is_err());
    });
}

#[test]
fn a_port_awakens_serves_and_becomes_dormant_again() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &config());
        assert_state(&agent, "quiet", true);

        probe(&peer);
        let view = assert_state(&agent, "probed", false);
        assert_eq!(awakenings(&agent, "packet"), 1);
        assert!(view["last_packet"].is_string() && view.get("last_bind").is_none(), "{view}");
        let awakened = newest(&agent, "awakened");
        assert_eq!(awakened["ghostport.reason"], "tcp packet to the port");
        assert!(awakened["ghostport.dormant_for_seconds"].as_f64().expect("seconds") < 60.0);

        // No address of this host.
        let refused = UdpSocket::bind((Ipv4Addr::new(192, 0, 2, 1), watched()));
        assert!(refused.is_err());
        assert_state(&agent, "attempted", false);
        let refused = newest(&agent, "bind_failed");
        assert_eq!(refused["ghostport.expected"], false, "{refused}");

        let listener = TcpListener::bind((HERE, watched())).expect("bound");
        let view = assert_state(&agent, "bound", false);
        assert_eq!(view["bound_sockets"]["tcp"], 1, "{view}");
        assert_tells_owner(&newest(&agent, "unexpected_owner"));
        let check = finish(ghostport().args(["check", &watched().to_string(), "--json"]));
        assert_eq!(check.status.code(), Some(1), "{}", stderr(&check));
        let check: Value = serde_json::from_str(&stdout(&check)).expect("JSON");
        assert_eq!(check["ports"][0]["state"], "bound", "{check}");
        assert_eq!(check["ports"][0]["sockets"][0]["holders"][0]["pid"], process::id());

        let client = peer.start(|| {
            let mut client = TcpStream::connect((HERE, watched())).expect("connected");
            let mut answer = [0; 2];
            client.read_exact(&mut answer).expect("an answer");
        });
        let (mut connection, _) = listener.accept().expect("accepted");
        connection.write_all(b"hi").expect("answered");
        client.recv().expect("the client");
        assert_state(&agent, "served", false);

        // Killed while the port is held: the next one knows all of it.
        agent.kill9();
        let agent = Agent::start(world, &config());
        let view = assert_state(&agent, "served", false);
        assert_eq!(view["awakenings"]["packet"], 1, "{view}");
        assert_eq!(awakenings(&agent, "bind"), 0, "the port was awake: {view}");

        drop((connection, listener));
        let dormant = eventually_within(patience() * 2, "dormancy", || {
            agent.events().into_iter().rfind(|event| event["event.name"] == "ghostport.dormant")
        });
        assert_eq!(dormant["network.local.port"], watched());

        // And is awakened once more, by a bind, with who did it.
        drop(UdpSocket::bind((Ipv4Addr::LOCALHOST, watched())).expect("bound"));
        eventually("the awakening", || (awakenings(&agent, "bind") == 1).then_some(()));
        let awakened = eventually("its event", || {
            Some(newest(&agent, "awakened")).filter(|event| event["ghostport.reason"] == "udp bind")
        });
        assert_eq!(awakened["process.pid"], process::id(), "{awakened}");
        assert_is_stored(world, &agent);
    });
}

/// Who is blamed for a bind is this test.
#[track_caller]
fn assert_tells_owner(event: &Value) {
    let executable = std::env::current_exe().expect("a path");
    assert_eq!(event["process.pid"], process::id(), "{event}");
    assert_eq!(event["process.executable.path"], *executable.to_string_lossy(), "{event}");
    assert_eq!(event["process.user.name"], "root", "{event}");
    assert_eq!(event["ghostport.expected"], false, "{event}");
    assert!(event["process.command_args"].is_array(), "{event}");
    assert!(event["process.linux.cgroup"].is_string(), "{event}");
    let ancestors = event["ghostport.ancestors"].as_array().expect("ancestors");
    assert_eq!(ancestors[0]["pid"], event["process.parent_pid"], "{event}");
}

/// `events` and the API return exactly what the sink received.
#[track_caller]
fn assert_is_stored(world: &World, agent: &Agent) {
    let config = config().write(world);
    let stored = eventually("the last event in the store", || {
        let output = finish(ghostport().args(["events", "--json", "--config"]).arg(&config));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let text = stdout(&output);
        let stored: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        (stored == agent.events()).then_some(stored)
    });
    assert_eq!(ask("/api/v1/events")["events"], Value::from(stored));
}

#[test]
fn an_expected_program_is_not_unexpected() {
    in_world(|world| {
        let executable = std::env::current_exe().expect("a path");
        let keys = format!("expect: [{{exe: {}, user: root}}]", executable.display());
        let agent = Agent::start(world, &Config::new([watched()]).with_port_keys(&keys));
        drop(UdpSocket::bind((Ipv4Addr::LOCALHOST, watched())).expect("bound"));
        assert_eq!(newest(&agent, "bind")["ghostport.expected"], true);
        let port = watched().to_string();
        let unexpected =
            || agent.metrics().sum("ghostport_unexpected_binds_total", &[("port", &port)]);
        assert_eq!(unexpected(), 0);

        // Another program is unexpected, until a reload changes the list of expected ones.
        let other = config().with_port_keys("expect: [{exe: /usr/bin/true}]");
        other.write(world);
        assert!(agent.reload(), "{}", agent.log());
        drop(UdpSocket::bind((Ipv4Addr::LOCALHOST, watched())).expect("bound"));
        assert_eq!(newest(&agent, "unexpected_owner")["process.pid"], process::id());
        eventually("the count", || (unexpected() == 1).then_some(()));
    });
}

/// Sockets that were open before the agent came are found, and awaken their port.
#[test]
fn finds_an_open_socket_at_start() {
    in_world(|world| {
        let holder = UdpSocket::bind((Ipv4Addr::LOCALHOST, watched())).expect("bound");
        let agent = Agent::start(world, &config());
        let view = assert_state(&agent, "bound", false);
        assert_eq!(view["bound_sockets"]["udp"], 1, "{view}");
        let holders = view["sockets"][0]["holders"].as_array().expect("holders");
        assert_eq!(holders[0]["pid"], process::id(), "{view}");
        assert!(
            newest(&agent, "awakened")["ghostport.reason"]
                == "udp socket that was found open, bound unseen"
        );
        drop(holder);
        eventually("its close", || {
            (ask(&format!("/api/v1/ports/{}", watched()))["bound_sockets"]["udp"] == 0)
                .then_some(())
        });
    });
}

/// Who held the port before the agent came is judged like one who binds it, once.
#[test]
fn a_found_holder_can_be_unexpected() {
    in_world(|world| {
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, watched())).expect("bound");
        let agent = Agent::start(world, &config());
        let port = watched().to_string();
        let unexpected = |agent: &Agent| {
            agent.metrics().sum("ghostport_unexpected_binds_total", &[("port", &port)])
        };
        let event = newest(&agent, "unexpected_owner");
        assert_tells_owner(&event);
        assert_eq!(event["ghostport.reason"], "it was found open, bound unseen", "{event}");
        assert_eq!(event["network.local.address"], "127.0.0.1", "{event}");
        eventually("the count", || (unexpected(&agent) == 1).then_some(()));
        agent.terminate();

        let agent = Agent::start(world, &config());
        assert_state(&agent, "bound", false);
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(unexpected(&agent), 1, "it is known");
        agent.terminate();

        let executable = std::env::current_exe().expect("a path");
        let keys = format!("expect: [{{exe: {}}}]", executable.display());
        fs::remove_file(world.path("ghostport.db")).expect("a store");
        let agent = Agent::start(world, &config().with_port_keys(&keys));
        assert_state(&agent, "bound", false);
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(unexpected(&agent), 0, "{}", agent.log());
    });
}

/// A server may close its listener when it has its client. The connection holds the port, and no
/// event reports that.
#[test]
fn tracks_connections_of_a_closed_listener() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, watched())).expect("bound");
        let mut client =
            TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
        let (connection, _) = listener.accept().expect("accepted");
        drop(listener);
        let view = eventually("a connection that serves", || {
            client.write_all(b"?").expect("asked");
            let view = ask(&format!("/api/v1/ports/{}", watched()));
            (view["state"] == "served" && view["bound_sockets"]["tcp"] == 1).then_some(view)
        });
        let sockets = view["sockets"].as_array().expect("sockets");
        let held = sockets.iter().find(|socket| socket["side"] == "local").expect("the port's end");
        assert_eq!(held["tcp_state"], "established", "{view}");
        assert_eq!(held["holders"][0]["pid"], process::id(), "{view}");
        drop((client, connection));
        assert_eq!(agent.metrics().sum("ghostport_events_lost_total", &[]), 0);
    });
}

/// Another store takes another start: until then history is where it was.
#[test]
fn a_reload_keeps_the_store() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        let path = config().write(world);
        let elsewhere =
            fs::read_to_string(&path).expect("YAML").replace("ghostport.db", "other.db");
        fs::write(path, elsewhere).expect("written");
        assert!(agent.reload(), "{}", agent.log());
        let events = ask("/api/v1/events");
        assert!(!events["events"].as_array().expect("events").is_empty());
    });
}

/// While a port is not watched, its counters in the kernel and its history stay as they are. No event
/// is sent twice.
#[test]
fn a_port_watched_again_keeps_its_counts_and_history() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &config());
        probe(&peer);
        drop(UdpSocket::bind((Ipv4Addr::LOCALHOST, watched())).expect("bound"));
        let port = watched().to_string();
        let known = || {
            let metrics = agent.metrics();
            let sum = |name: &str| metrics.sum(name, &[("port", &port)]);
            let latest = |name: &str| {
                ["tcp", "udp"]
                    .map(|protocol| metrics.value(name, &[("port", &port), ("protocol", protocol)]))
            };
            let counts = [
                "ghostport_packets_total",
                "ghostport_binds_total",
                "ghostport_unexpected_binds_total",
                "ghostport_awakenings_total",
            ];
            let times = ["ghostport_last_packet_timestamp_seconds"];
            (counts.map(sum), times.map(latest))
        };
        eventually("bind and packet told", || {
            let ([packets, binds, unexpected, awakenings], _) = known();
            (packets > 0 && binds == 1 && unexpected == 1 && awakenings == 1).then_some(())
        });
        // The reading that finds the packet comes once more: it is the time of the last one then.
        std::thread::sleep(Duration::from_secs(2));
        let before = known();

        Config::new([testkit::world::port(1)]).on(&["lo", "gp0"]).write(world);
        assert!(agent.reload(), "{}", agent.log());
        config().write(world);
        assert!(agent.reload(), "{}", agent.log());
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(known(), before);
        assert_eq!(agent.count_events("awakened"), 1);
    });
}

/// No bind asked for this port, so no event reports it. The next scan of all sockets finds it, and
/// says that it came from the scan.
#[test]
fn finds_a_socket_whose_events_were_lost() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        let differences = || agent.metrics().sum("ghostport_holder_differences_total", &[]);
        assert_state(&agent, "quiet", true);
        assert_eq!(differences(), 0);
        // The only port that the kernel may choose.
        let range = format!("{0} {0}", watched());
        set_sysctl("net/ipv4/ip_local_port_range", &range);
        let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).expect("a socket");
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        connect(&socket, &nobody).expect("connected");
        set_sysctl("net/ipv4/ip_local_port_range", "32768 60999");
        eventually_within(patience() * 2, "the next look", || (differences() == 1).then_some(()));
        let view = assert_state(&agent, "bound", false);
        assert_eq!(view["sockets"][0]["peer_port"], 9, "{view}");
        assert_eq!(view["sockets"][0]["holders"][0]["pid"], process::id(), "{view}");
    });
}

/// Many programs bind and exit at once. Each event has the name and the command line of its own
/// process.
#[test]
fn names_programs_that_end_at_once() {
    let programs = scaled(10_000).max(100);
    in_world(|world| {
        let agent = Agent::start(world, &Config::new([watched()]));
        run_many(programs, 50, BINDER, "");
        let lost = || agent.metrics().sum("ghostport_events_lost_total", &[]);
        // A preemptible kernel may leave calls out, and says how many.
        let missed =
            || agent.metrics().sum("ghostport_kernel_errors_total", &[("cause", "call_missed")]);
        eventually_within(patience() * 4, "every bind", || {
            (binds(&agent).len() as u64 + lost() + missed() >= programs).then_some(())
        });
        assert_eq!(lost(), 0, "{}", agent.log());
        let told = binds(&agent);
        let numbers: BTreeSet<u64> = told.iter().map(number_of).collect();
        assert_eq!(numbers.len(), told.len(), "somebody is told twice");
        assert!(numbers.iter().all(|number| *number < programs), "{numbers:?}");
        assert!(numbers.len() as u64 + missed() >= programs, "somebody is missing");
    });
}

/// A process that executes another program right after its bind is reported as the program that bound.
#[test]
fn does_not_blame_a_program_executed_after_the_bind() {
    let programs = scaled(300).max(20);
    in_world(|world| {
        let other = world.path("other");
        fs::copy("/usr/bin/perl", &other).expect("copied");
        let agent = Agent::start(world, &Config::new([watched()]));
        let binder = format!("{BINDER}';exec {{$ARGV[2]}} qw(perl -e 1)'");
        run_many(programs, 20, &binder, &other.display().to_string());
        eventually_within(patience() * 4, "every bind", || {
            (binds(&agent).len() as u64 >= programs).then_some(())
        });
        for event in binds(&agent) {
            number_of(&event);
        }
    });
}

/// Runs so many programs, some of them at once: each is given the port, a number, and what follows.
fn run_many(programs: u64, at_once: u64, program: &str, rest: &str) {
    let port = watched();
    let script = format!(
        "i=0; while [ $i -lt {programs} ]; do {program} {port} $i {rest} & i=$((i+1)); \
         [ $((i % {at_once})) = 0 ] && wait; done; wait",
    );
    let status = Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).status();
    assert!(status.expect("sh").success());
}

/// Every bind that was reported, refused or not.
fn binds(agent: &Agent) -> Vec<Value> {
    let is_bind = |event: &Value| {
        event["event.name"] == "ghostport.bind" || event["event.name"] == "ghostport.bind_failed"
    };
    agent.events().into_iter().filter(is_bind).collect()
}

/// A program that binds a UDP socket to the port that it is given, and ends; a number follows.
const BINDER: &str = r#"perl -e 'socket(S,2,2,17);bind(S,pack("Sna4x8",2,$ARGV[0],"\x7f\0\0\1"))'"#;

/// The number that a program was given, from its command line; checks that the rest is its own.
#[track_caller]
fn number_of(event: &Value) -> u64 {
    assert_eq!(event["process.executable.name"], "perl", "{event}");
    assert_eq!(event["process.user.name"], "root", "{event}");
    assert!(event["process.parent_pid"].is_u64(), "{event}");
    assert!(event["process.linux.cgroup"].is_string(), "{event}");
    if let Some(path) = event.get("process.executable.path") {
        assert!(path.as_str().is_some_and(|path| path.ends_with("/perl")), "{event}");
    }
    let args = event["process.command_args"].as_array().expect("a command line");
    args[4].as_str().and_then(|number| number.parse().ok()).expect("a number")
}
