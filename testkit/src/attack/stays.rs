//! What must not break: parsers, the web server, and counts across `kill -9`.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use serde_json::Value;

use super::{
    measure::{Extent, Measure},
    users::{bind_times, server, within},
};
use crate::{
    agent::{Agent, Config, finish, ghostport, stdout},
    calls::NOBODY,
    frames::plain_udp,
    http,
    metrics::Metrics,
    privileges::as_user,
    wire::Wire,
    world::{World, port, received_packets},
};

fn config() -> Config {
    Config::new([port(0)]).on(&["lo"])
}

/// A request with these lines after the first.
fn ask(line: &str, headers: &[&str]) -> Option<u16> {
    let mut request = format!("{line} HTTP/1.1\r\n");
    for header in headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str("Connection: close\r\n\r\n");
    http::raw(server(), request.as_bytes()).ok().map(|answer| answer.status)
}

/// Names that a browser may be led by to the agent, and ways around a check of paths.
pub(super) fn by_hosts_and_paths(world: &World, _: Extent) -> Measure {
    let _agent = Agent::start(world, &config());
    let own = format!("Host: {}", server());
    let hosts = [
        "evil.example",
        "evil.example:10948",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example@127.0.0.1",
        "127.0.0.1:10948@evil.example",
        "0.0.0.0",
        "2130706433",
        "0x7f000001",
        "127.1",
        "[::ffff:192.0.2.1]",
        "192.0.2.1",
        "127.0.0.1 evil.example",
        "127.0.0.1,evil.example",
        "127.0.0.1/evil.example",
        "127.0.0.1#evil.example",
        "",
        " ",
    ];
    let origins = ["http://evil.example", "null", "http://127.0.0.1.evil.example", "file://"];
    let paths = [
        "//api/v1/ports",
        "/./api/v1/ports",
        "/metrics/../api/v1/ports",
        "/metrics/%2e%2e/api/v1/ports",
        "/%61pi/v1/ports",
        "/api%2fv1/ports",
        "/api/v1/ports%00",
        "/api/v1/ports/",
        "/API/v1/ports",
        "/api/v1/ports;x",
        "http://evil.example/api/v1/ports",
    ];
    let foreign = hosts.map(|host| ask("GET /api/v1/ports", &[&format!("Host: {host}")]));
    let crossed =
        origins.map(|origin| ask("GET /api/v1/ports", &[&own, &format!("Origin: {origin}")]));
    // Of the attacker, to whom the right path is closed.
    let variants = as_user(NOBODY, || paths.map(|path| ask(&format!("GET {path}"), &[&own])));
    let tried = hosts.len() + origins.len() + paths.len();
    let answers = foreign.iter().chain(&crossed).chain(&variants);
    let passed = answers.filter(|status| **status == Some(200)).count();
    let seen = format!("{passed} of {tried} answered with details");
    Measure::new("Host, Origin and path in many forms", seen, passed == 0)
}

/// Requests that hide another one, or never end.
pub(super) fn by_broken_requests(world: &World, extent: Extent) -> Measure {
    let agent = Agent::start(world, &config());
    let before = resident(&agent.metrics());
    let host = format!("Host: {}\r\n", server());
    let hidden = "GET /api/v1/ports HTTP/1.1\r\nHost: x\r\n\r\n";
    let length = hidden.len();
    let broken = [
        format!(
            "GET /metrics HTTP/1.1\r\n{host}Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{hidden}"
        ),
        format!(
            "GET /metrics HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{hidden}"
        ),
        format!("GET /metrics HTTP/1.1\r\n{host}Transfer-Encoding: xchunked\r\n\r\n{hidden}"),
        format!("GET /metrics HTTP/1.1\r\n{host} X: folded\r\n\r\n"),
        format!("GET /metrics HTTP/9.9\r\n{host}\r\n"),
        "\0\u{1}\u{2}\r\n\r\n".into(),
        format!(
            "GET /{} HTTP/1.1\r\n{host}\r\n",
            "a".repeat(extent.of(1 << 20, 10 << 20) as usize)
        ),
        format!("GET /metrics HTTP/1.1\r\n{host}X: {}\r\n\r\n", "a".repeat(1 << 20)),
        format!("GET /metrics HTTP/1.1\r\n{host}{}\r\n", "X: a\r\n".repeat(10_000)),
        format!("{}\r\n", format!("GET /healthz HTTP/1.1\r\n{host}\r\n").repeat(1_000)),
    ];
    let mut leaked = 0;
    for request in &broken {
        let mut stream = TcpStream::connect(server()).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(extent.of(3, 15)))).expect("set");
        // It may close the connection before it has read everything.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.take(4 << 20).read_to_end(&mut answer);
        leaked += usize::from(String::from_utf8_lossy(&answer).contains("\"ports\""));
    }
    let alive = agent.get("/readyz").status;
    let grown = (resident(&agent.metrics()) - before) / 1e6;
    let seen = format!("{leaked} hidden requests answered, /readyz {alive}, {grown:+.0} MB");
    let repelled = leaked == 0 && alive == 200 && grown < 64.0;
    Measure::new(format!("{} broken or endless requests", broken.len()), seen, repelled)
}

fn resident(metrics: &Metrics) -> f64 {
    metrics.value("process_resident_memory_bytes", &[])
}

/// Subscribers who do not take their events.
pub(super) fn by_streams_that_are_never_read(world: &World, extent: Extent) -> Measure {
    let agent = Agent::start(world, &config());
    let before = resident(&agent.metrics());
    let request = format!("GET /api/v1/events/stream?every HTTP/1.1\r\nHost: {}\r\n\r\n", server());
    let streams: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect(server()).expect("connected");
            stream.write_all(request.as_bytes()).expect("asked");
            stream
        })
        .collect();
    let binds = extent.of(2_000, 20_000);
    bind_times(port(0), binds);
    let counted = || agent.metrics().sum("ghostport_binds_total", &[]);
    let all = within(|| (counted() == binds).then_some(())).is_some();
    let grown = (resident(&agent.metrics()) - before) / 1e6;
    drop(streams);
    let seen = format!("{} binds counted, {grown:+.0} MB", counted());
    let tried = format!("40 streams that are never read, {binds} binds");
    Measure::new(tried, seen, all && grown < 100.0)
}

/// The agent is killed again and again; hooks count on.
pub(super) fn by_killing_it(world: &World, extent: Extent) -> Measure {
    let times = extent.of(3, 20);
    let mut agent = Agent::start(world, &config());
    for _ in 0..times {
        bind_times(port(0), 5);
        agent.kill9();
        bind_times(port(0), 5);
        agent = Agent::start(world, &config());
    }
    let binds = 10 * times;
    let counted = || agent.metrics().sum("ghostport_binds_total", &[("result", "success")]);
    let all = within(|| (counted() == binds).then_some(())).is_some();
    let seen = format!("{} of {binds} binds counted", counted());
    Measure::new(format!("kill -9, {times} times, with binds before and after"), seen, all)
}

/// The name of a program that would be a series, a line of the log and a script.
const HOSTILE: &str = "x\"}\nghostport_binds_total{port=\"1\"} 999\n<script>\u{1b}[31m";

/// A program of a hostile name holds a port.
pub(super) fn by_hostile_names(world: &World, _: Extent) -> Measure {
    const HOLD: &str =
        r#"socket(S,2,2,17);bind(S,pack("Sna4x8",2,shift,"\x7f\0\0\1"))||die;sleep 99"#;
    let keys = "details: admins\nmetrics:\n  holder_info: true";
    let agent = Agent::start(world, &config().with_web_keys(keys));
    let program = world.path(HOSTILE);
    fs::copy("/usr/bin/perl", &program).expect("copied");
    let arguments = ["-e", HOLD, &port(0).to_string(), HOSTILE];
    let mut holder = Command::new(&program).args(arguments).spawn().expect("a program");
    let named = within(|| {
        let metrics = agent.get("/metrics").body;
        metrics.contains("ghostport_holder_info{").then_some(metrics)
    });
    let forged = named.as_ref().map_or(0, |metrics| {
        metrics.lines().filter(|line| line.starts_with("ghostport_binds_total{port=\"1\"}")).count()
    });
    // Every line is one object, or this panics.
    let events = agent.events().len();
    let is_json = serde_json::from_str::<Value>(&agent.get("/api/v1/ports").body).is_ok();
    let mut check = ghostport();
    let page = stdout(&finish(check.args(["check", "--config"]).arg(config().write(world))));
    let is_clean = !page.contains('\u{1b}') && !page.contains("\nghostport_binds_total");
    let log = agent.log();
    let is_clean = is_clean && !log.contains('\u{1b}') && !log.contains("\nghostport_binds");
    let _ = holder.kill();
    let _ = holder.wait();
    let seen = format!(
        "{forged} forged series, {events} events of a line each, JSON: {is_json}, \
         page and log without control characters: {is_clean}"
    );
    let repelled = named.is_some() && forged == 0 && is_json && is_clean;
    Measure::new("a program whose name is a series, a line and a script", seen, repelled)
}

/// xorshift64: the same mutations every time.
struct Mutations(u64);

impl Mutations {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Changes some bytes, and cuts the end off now and then.
    fn apply(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.next() % 8 {
            let at = self.next() as usize % bytes.len();
            bytes[at] = self.next() as u8;
        }
        if self.next().is_multiple_of(4) {
            bytes.truncate(1 + self.next() as usize % bytes.len());
        }
    }
}

/// Frames with any bytes behind the addresses.
pub(super) fn by_hostile_frames(world: &World, extent: Extent) -> Measure {
    let frames = extent.of(20_000, 1_000_000);
    let peer = world.peer();
    let agent = Agent::start(world, &Config::new([port(0)]).on(&["gp0"]));
    let received = || received_packets("gp0");
    let (before, watched) = (received(), port(0));
    peer.run(move || {
        let (wire, mut mutations) = (Wire::open("peer0"), Mutations(0x9e37_79b9));
        for _ in 0..frames {
            let mut frame = plain_udp(40_000, watched);
            let mut rest = frame.split_off(14);
            mutations.apply(&mut rest);
            frame.append(&mut rest);
            wire.send(&frame);
        }
        // One that is whole, after all others.
        wire.send(&plain_udp(40_001, watched));
    });
    within(|| (received() - before > frames).then_some(()));
    let metrics = agent.metrics();
    let (ready, log) = (agent.get("/readyz").status, agent.log());
    let counted = metrics.sum("ghostport_packets_total", &[("direction", "ingress")]);
    let errors = log.lines().filter(|line| line.contains("panicked")).count();
    let seen = format!(
        "{} received, {counted} of them on the watched port, /readyz {ready}, {errors} panics",
        received() - before
    );
    let repelled = ready == 200 && errors == 0 && counted > 0 && received() - before > frames;
    Measure::new(format!("{frames} mutated frames"), seen, repelled)
}

/// Runs a command on mutations of a file. Returns how many ended by a signal or with another code than
/// 0 to 2.
fn crashes(world: &World, original: &[u8], times: u64, arguments: &[&str]) -> usize {
    let (mut mutations, mut crashes) = (Mutations(0x2545_f491), 0);
    let path = world.path("mutated");
    for _ in 0..times {
        let mut bytes = original.to_vec();
        mutations.apply(&mut bytes);
        fs::write(&path, &bytes).expect("written");
        let output = finish(ghostport().args(arguments).arg(&path));
        crashes += usize::from(!matches!(output.status.code(), Some(0..=2)));
    }
    crashes
}

/// A capture of one datagram, `https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-05.html`.
fn capture() -> Vec<u8> {
    let frame = plain_udp(9200, 2948);
    let mut bytes = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0];
    bytes.extend(1_u32.to_le_bytes());
    for _ in 0..4 {
        bytes.extend([0; 8]);
        bytes.extend((frame.len() as u32).to_le_bytes());
        bytes.extend((frame.len() as u32).to_le_bytes());
        bytes.extend(&frame);
    }
    bytes
}

/// `identify` of captures whose bytes were changed.
pub(super) fn by_mutated_captures(world: &World, extent: Extent) -> Measure {
    let times = extent.of(150, 10_000);
    let crashed = crashes(world, &capture(), times, &["identify", "--json"]);
    let seen = format!("{crashed} crashes");
    Measure::new(format!("{times} mutated captures"), seen, crashed == 0)
}

/// `config check` of configurations whose bytes were changed.
pub(super) fn by_mutated_configurations(world: &World, extent: Extent) -> Measure {
    let times = extent.of(150, 2_000);
    let original = fs::read(config().write(world)).expect("a configuration");
    let crashed = crashes(world, &original, times, &["config", "check", "--config"]);
    Measure::new(
        format!("{times} mutated configurations"),
        format!("{crashed} crashes"),
        crashed == 0,
    )
}
