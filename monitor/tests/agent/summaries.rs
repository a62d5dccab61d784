//! Events alike: the first is emitted, the others are summed up, and none goes uncounted.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use testkit::{
    agent::{Agent, Config, LISTEN, repeats},
    eventually,
    metrics::Metrics,
    patience,
    world::{World, in_world, port},
};

/// With their closes within the share of a process.
const BINDS: u64 = 60;
const REQUESTS: u64 = 10;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn config() -> Config {
    Config::new([port(0), port(1)]).on(&["lo"]).identified("first")
}

/// Binds and closes a port, again and again.
fn bind_repeatedly() {
    for _ in 0..BINDS {
        drop(UdpSocket::bind((Ipv4Addr::LOCALHOST, port(0))).expect("bound"));
    }
}

/// Serves requests of a web client on a watched port, each on a connection of its own.
fn serve_requests() {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, port(1))).expect("a server");
    let address = server.local_addr().expect("an address");
    for _ in 0..REQUESTS {
        let mut client = TcpStream::connect(address).expect("connected");
        client.write_all(REQUEST).expect("asked");
        let (mut connection, _) = server.accept().expect("accepted");
        let mut request = [0; 64];
        let _ = connection.read(&mut request).expect("a request");
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        connection.write_all(answer).expect("answered");
    }
}

fn is_kind(event: &Value, kind: &str) -> bool {
    let name = event["event.name"].as_str().expect("a name");
    let name = name.strip_prefix("ghostport.").expect("a prefix");
    name == kind || name == "summary" && event["ghostport.summary_of"] == kind
}

/// How many events of this kind on this port the emitted ones stand for.
fn accounted(events: &[Value], kind: &str, port: u16) -> u64 {
    let on_port =
        |event: &&Value| event["network.local.port"] == port || event["ghostport.port"] == port;
    let of_kind = events.iter().filter(|event| is_kind(event, kind)).filter(on_port);
    of_kind.map(repeats).sum()
}

fn lines(world: &World) -> Vec<Value> {
    let text = fs::read_to_string(world.path("events.jsonl")).expect("a file");
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn on_port(metrics: &Metrics, name: &str, port: u16) -> u64 {
    metrics.sum(name, &[("port", &port.to_string())])
}

#[test]
fn emits_the_first_and_counts_all_of_what_a_program_repeats() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        bind_repeatedly();
        let first = agent.socket_events();
        let of_port = |event: &&Value| event["network.local.port"] == port(0);
        assert_eq!(first.iter().filter(of_port).count(), 2, "a bind and a close: {first:?}");
        let metrics = agent.metrics();
        assert!(agent.terminate().success());
        let events = lines(world);
        for (kind, name) in [("bind", "ghostport_binds_total"), ("close", "ghostport_closes_total")]
        {
            assert_eq!(
                accounted(&events, kind, port(0)),
                on_port(&metrics, name, port(0)),
                "{kind}"
            );
        }
        assert_eq!(on_port(&metrics, "ghostport_binds_total", port(0)), BINDS);
        let summary = events.iter().find(|event| event["ghostport.summary_of"] == "bind");
        let summary = summary.expect("a summary");
        assert_eq!(summary["ghostport.count"], BINDS - 1);
        assert_eq!(summary["ghostport.processes"], 1);
        assert_eq!(summary["process.pid"], std::process::id());
        assert!(
            summary["ghostport.first_time"].as_str() <= summary["ghostport.last_time"].as_str()
        );
        // What is left is written before the agent says that it stops.
        assert_eq!(events.last().expect("an event")["event.name"], "ghostport.agent_stopped");
    });
}

#[test]
fn emits_the_first_of_the_conversations_alike() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        // Sampling begins with the first reading of the counters.
        thread::sleep(Duration::from_millis(1_500));
        serve_requests();
        let identified =
            |metrics: &Metrics| on_port(metrics, "ghostport_payloads_identified_total", port(1));
        let metrics = eventually("every identification", || {
            let metrics = agent.metrics();
            (identified(&metrics) >= 2 * REQUESTS).then_some(metrics)
        });
        assert_eq!(agent.count_events("identified"), 2, "a request and an answer");
        assert!(agent.terminate().success());
        let events = lines(world);
        assert_eq!(accounted(&events, "identified", port(1)), identified(&metrics));
        let is_summary = |event: &&Value| event["ghostport.summary_of"] == "identified";
        let summaries: Vec<&Value> = events.iter().filter(is_summary).collect();
        assert_eq!(summaries.len(), 2, "{summaries:?}");
        for summary in &summaries {
            assert_eq!(summary["ghostport.verdict"], "http", "{summary}");
            assert_eq!(summary["ghostport.count"], REQUESTS - 1, "{summary}");
            assert_eq!(summary["ghostport.peers"], 1);
            assert_eq!(summary["ghostport.peer_network"], "127.0.0.0/24");
            assert_eq!(summary["network.peer.address"], "127.0.0.1");
        }
        let bytes = (REQUESTS - 1) * REQUEST.len() as u64;
        assert!(summaries.iter().any(|summary| summary["ghostport.bytes"] == bytes));
    });
}

#[test]
fn streams_every_event_to_those_who_ask() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, LISTEN)));
        let stream = stream.as_mut().expect("connected");
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("set");
        let request = "GET /api/v1/events/stream?every HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("asked");
        let mut received = String::new();
        let deadline = Instant::now() + patience();
        let mut is_bound = false;
        let binds =
            |received: &str| received.matches("\"event.name\":\"ghostport.bind\"").count() as u64;
        while binds(&received) < BINDS {
            assert!(Instant::now() < deadline, "{} binds", binds(&received));
            if !is_bound && received.contains(": ghostport") {
                bind_repeatedly();
                is_bound = true;
            }
            let mut bytes = [0; 16_384];
            if let Ok(len) = stream.read(&mut bytes) {
                received.push_str(&String::from_utf8_lossy(&bytes[..len]));
            }
        }
        assert!(!received.contains("ghostport.summary"));
        assert_eq!(agent.count_events("bind"), 1);
    });
}
