//! An agent at work.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    command::ghostport,
    config::{Config, SENTINEL, events_path},
};
use crate::{
    eventually, http,
    metrics::{Counts, Metrics, expect, since},
    patience,
    world::{World, port},
};

/// How many sentinels there were, and one more: 127.0.0.0 is no address of a host.
static SENTINELS: AtomicU32 = AtomicU32::new(1);

/// Whether an event reports a socket call itself, and not a consequence of one.
pub fn is_call(event: &Value) -> bool {
    ["bind", "bind_failed", "listen", "close"]
        .iter()
        .any(|kind| event["event.name"] == format!("ghostport.{kind}"))
}

/// How many alike events an event stands for.
pub fn repeats(event: &Value) -> u64 {
    event["ghostport.count"].as_u64().unwrap_or(1)
}

/// An agent at work. It is killed, if it still lives, when this is dropped, and what it said is
/// shown if the test fails.
pub struct Agent {
    child: Child,
    server: SocketAddr,
    log: PathBuf,
    events: PathBuf,
}

impl Agent {
    /// Starts one and waits until it is ready.
    pub fn start(world: &World, config: &Config) -> Self {
        Self::start_with(world, config, &[])
    }

    /// Starts one with further arguments, and waits until it is ready.
    pub fn start_with(world: &World, config: &Config, arguments: &[&str]) -> Self {
        let mut command = ghostport();
        command.arg("run").args(arguments);
        Self::launch(world, config, command)
    }

    /// Starts one of which a hook is attached, and waits until it is ready. `None` where no mechanism
    /// serves that hook here, and why is printed.
    pub fn start_hooked(world: &World, config: &Config, hook: &str) -> Option<Self> {
        let agent = Self::start(world, config);
        let found = agent.hook_at_start(hook, None);
        if found["mechanism"].is_null() {
            eprintln!("skipped: {}", found["reason"]);
            return None;
        }
        Some(agent)
    }

    /// Starts one by a command that lacks nothing but the configuration, and waits until it is
    /// ready.
    pub fn launch(world: &World, config: &Config, mut command: Command) -> Self {
        let path = config.write(world);
        let log = world.path("stderr");
        let stderr = File::options().create(true).append(true).open(&log).expect("a log");
        let child = command
            .arg("--config")
            .arg(path)
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("spawned");
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, config.listen));
        let mut agent = Self { child, server, log, events: events_path(world) };
        eventually("an agent that is ready", || {
            if let Some(status) = agent.child.try_wait().expect("waited") {
                panic!("the agent ended with {status}");
            }
            http::get(server, "/readyz").ok().filter(|response| response.status == 200)
        });
        agent
    }

    /// Asks for a page.
    pub fn get(&self, path: &str) -> http::Response {
        http::get(self.server, path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// Asks for a document of the API.
    #[track_caller]
    pub fn ask<T: DeserializeOwned>(&self, path: &str) -> T {
        self.get(path).json()
    }

    /// Scrapes.
    pub fn metrics(&self) -> Metrics {
        let response = self.get("/metrics");
        assert_eq!(response.status, 200, "{}", response.body);
        Metrics::parse(response.body)
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it said on standard error until now.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Checks that nothing but `expected` was counted about packets since `before`. Packets that
    /// are on their way get a moment to arrive.
    #[track_caller]
    pub fn assert_traffic(&self, before: &Counts, expected: &Counts, what: &str) -> Counts {
        self.assert_traffic_is_one_of(before, std::slice::from_ref(expected), what)
    }

    /// The same where kernels differ.
    #[track_caller]
    pub fn assert_traffic_is_one_of(
        &self,
        before: &Counts,
        expected: &[Counts],
        what: &str,
    ) -> Counts {
        let deadline = Instant::now() + patience();
        loop {
            let after = self.metrics().traffic();
            let counted = since(before, &after);
            if expected.contains(&counted) {
                return after;
            }
            assert!(
                Instant::now() < deadline,
                "{what}\n  expected: {expected:#?}\n  counted: {counted:#?}"
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Every event about a socket so far, in order. To be sure that they are all there, it binds a
    /// port of its own and waits for that event.
    pub fn socket_events(&self) -> Vec<Value> {
        let sentinel = port(SENTINEL);
        let is_sentinel =
            |event: &Value| event["network.local.port"].as_u64() == Some(sentinel.into());
        let first = SENTINELS.load(Ordering::Relaxed);
        // Each has an address of its own: the event of an earlier sentinel may arrive only now.
        let is_ours = |event: &Value| {
            let address = event["network.local.address"].as_str();
            let address = address.and_then(|address| address.parse::<Ipv4Addr>().ok());
            is_sentinel(event)
                && event["event.name"] == "ghostport.bind"
                && address.is_some_and(|address| u32::from(address) & 0x00ff_ffff >= first)
        };
        let mut events = eventually("the sentinel's event", || {
            // Again and again, because a ring that is full loses this one, too.
            let number = SENTINELS.fetch_add(1, Ordering::Relaxed);
            let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 0, 0)) | number);
            drop(UdpSocket::bind((address, sentinel)).expect("the sentinel"));
            thread::sleep(Duration::from_millis(5));
            let events = self.events();
            events.iter().any(is_ours).then_some(events)
        });
        events.retain(|event| !is_sentinel(event) && is_call(event));
        events
    }

    /// Every event in the file now: as JSON, because the names of its fields are part of what tests
    /// check.
    pub fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.events).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// The outcome of a hook at the start, on an interface if it has one.
    pub fn hook_at_start(&self, hook: &str, interface: Option<&str>) -> Value {
        let hooks = eventually("the event of the start", || {
            let mut events = self.events().into_iter();
            let started = events.find(|event| event["event.name"] == "ghostport.agent_started");
            started?["ghostport.hooks"].as_array().cloned()
        });
        let is_it = |found: &&Value| {
            found["hook"] == hook && interface.is_none_or(|name| found["interface"] == name)
        };
        hooks.iter().find(is_it).expect(hook).clone()
    }

    /// How many events of a kind are in the file now, without a look at what they say.
    pub fn count_events(&self, kind: &str) -> usize {
        let text = fs::read_to_string(&self.events).unwrap_or_default();
        text.matches(&format!("\"event.name\":\"ghostport.{kind}\"")).count()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signalled");
    }

    /// Sends SIGHUP and waits until the agent has read its configuration. Returns whether it was
    /// accepted. Two rejected ones in a row look the same.
    pub fn reload(&self) -> bool {
        let state = || {
            let metrics = self.metrics();
            let read = metrics.value("ghostport_config_reload_timestamp_seconds", &[]);
            (metrics.value("ghostport_config_reload_success", &[]) == 1.0, read)
        };
        let (succeeded, read) = state();
        // Should the timestamp have no fractions, a second must pass for it to change.
        if read.fract() == 0.0 {
            thread::sleep(Duration::from_millis(1100));
        }
        self.signal(Signal::HUP);
        eventually("a reload", || match state() {
            (true, again) if again > read => Some(true),
            (false, _) if succeeded => Some(false),
            _ => None,
        })
    }

    /// SIGKILL: no farewell.
    pub fn kill9(mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("waited");
    }

    /// SIGTERM, and waits for its end.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        eventually("the end of the agent", || self.child.try_wait().expect("waited"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- what the agent said ---\n{}---", self.log());
        }
    }
}

/// One line of socket counters that a test expects.
pub fn expect_sockets(counts: &mut Counts, port: u16, what: &str, protocol: &str, amount: u64) {
    let port = port.to_string();
    let port = ("port", port.as_str());
    let protocol = ("protocol", protocol);
    match what {
        "listen" => expect(counts, "ghostport_listens_total", &[port], amount),
        "close" => expect(counts, "ghostport_closes_total", &[port, protocol], amount),
        result => {
            let labels = [port, protocol, ("result", result)];
            expect(counts, "ghostport_binds_total", &labels, amount);
        }
    }
}
