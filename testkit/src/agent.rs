//! The agent under test: its configuration, its process and its output.

use std::{
    env,
    fmt::Write as _,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{
    eventually, http,
    metrics::{Counts, Metrics, expect, since},
    patience,
    world::{World, port},
};

/// Where the agent of a test listens: in a namespace of its own every port is free.
pub const LISTEN: u16 = 10948;

/// Where the agent pins what outlives it.
pub const PINS: &str = "/sys/fs/bpf/ghostport";

/// Offset of the port by which a test knows that every earlier event has arrived.
const SENTINEL: u16 = 99;

/// A configuration, written out for the agent.
#[derive(Clone, Debug)]
pub struct Config {
    /// Watched ports; one more is added for [`Agent::events`].
    pub ports: Vec<u16>,
    /// `interfaces.include`.
    pub include: Vec<&'static str>,
    /// `interfaces.exclude`.
    pub exclude: Vec<&'static str>,
    /// `interfaces.mode`.
    pub mode: &'static str,
    /// `bind.mechanism`.
    pub mechanism: &'static str,
    /// `process.command_line`.
    pub command_line: bool,
    /// `payload`, as a flow mapping.
    pub payload: &'static str,
    /// Port of the web server.
    pub listen: u16,
    /// What follows the number of each port: keys of its mapping, none for a number alone.
    pub port_keys: String,
    /// Sinks beside the file that [`Agent::events`] reads, each as a mapping.
    pub sinks: Vec<String>,
    /// Keys of `web` beside `listen`, as `details: never`.
    pub web_keys: String,
}

impl Config {
    /// Watches these ports, and no interface.
    pub fn new(ports: impl IntoIterator<Item = u16>) -> Self {
        Self {
            ports: ports.into_iter().collect(),
            include: Vec::new(),
            exclude: Vec::new(),
            mode: "auto",
            mechanism: "auto",
            command_line: true,
            payload: "{capture: true, keep: bytes}",
            listen: LISTEN,
            port_keys: String::new(),
            sinks: Vec::new(),
            web_keys: String::new(),
        }
    }

    /// Writes events there, too.
    pub fn with_sinks(self, sinks: impl IntoIterator<Item = String>) -> Self {
        Self { sinks: sinks.into_iter().collect(), ..self }
    }

    /// Adds keys to the section `web`.
    pub fn with_web_keys(self, keys: &str) -> Self {
        Self { web_keys: keys.to_owned(), ..self }
    }

    /// Adds keys to the mapping of every port, as `dormant_after: 7d`.
    pub fn with_port_keys(self, keys: &str) -> Self {
        Self { port_keys: keys.to_owned(), ..self }
    }

    /// Counts on interfaces that match these globs.
    pub fn on(self, include: &[&'static str]) -> Self {
        Self { include: include.to_vec(), ..self }
    }

    /// Forces the mode of attachment.
    pub fn mode(self, mode: &'static str) -> Self {
        Self { mode, ..self }
    }

    /// Sets what is done with payloads.
    pub fn payload(self, payload: &'static str) -> Self {
        Self { payload, ..self }
    }

    /// Forces the mechanism of bind tracing.
    pub fn mechanism(self, mechanism: &'static str) -> Self {
        Self { mechanism, ..self }
    }

    fn yaml(&self, world: &World) -> String {
        let mut text = String::from("ports:\n");
        let sentinel = Some(port(SENTINEL)).filter(|sentinel| !self.ports.contains(sentinel));
        for port in self.ports.iter().chain(&sentinel) {
            let _ = match &*self.port_keys {
                "" => writeln!(text, "  - {port}"),
                keys => writeln!(text, "  - {{port: {port}, {keys}}}"),
            };
        }
        let events = events_path(world);
        let _ = writeln!(text, "store:\n  path: {}", world.path("ghostport.db").display());
        let _ = write!(
            text,
            "interfaces:\n  include: {:?}\n  exclude: {:?}\n  mode: {}\n\
             bind:\n  mechanism: {}\n\
             payload: {}\n\
             process:\n  command_line: {}\n\
             web:\n  listen: [\"127.0.0.1:{}\"]\n  {}\n\
             sinks:\n  - {{kind: file, path: {}}}\n",
            self.include,
            self.exclude,
            self.mode,
            self.mechanism,
            self.payload,
            self.command_line,
            self.listen,
            self.web_keys,
            events.display(),
        );
        self.sinks.iter().for_each(|sink| text.push_str(&format!("  - {sink}\n")));
        text
    }

    /// Writes it where the agent looks for it.
    pub fn write(&self, world: &World) -> PathBuf {
        let path = world.path("ghostport.yaml");
        fs::write(&path, self.yaml(world)).expect("written");
        path
    }
}

/// How many sentinels there were, and one more: 127.0.0.0 is no address of a host.
static SENTINELS: AtomicU32 = AtomicU32::new(1);

/// Whether an event reports a socket call itself, and not a consequence of one.
pub fn is_call(event: &Value) -> bool {
    ["bind", "bind_failed", "listen", "close"]
        .iter()
        .any(|kind| event["event.name"] == format!("ghostport.{kind}"))
}

fn events_path(world: &World) -> PathBuf {
    world.path("events.jsonl")
}

/// Path of the binary under test. Cargo builds it into the folder above that of the test programs;
/// both lie at the same places in a guest.
pub fn binary() -> PathBuf {
    let this = env::current_exe().expect("a path");
    let built = this.ancestors().nth(2).expect("a folder of cargo's").join("ghostport");
    assert!(built.is_file(), "{} is not there: run the tests by cargo", built.display());
    built
}

/// The binary under test, to be run.
pub fn ghostport() -> Command {
    let mut command = Command::new(binary());
    command.stdin(Stdio::null()).env_remove("RUST_LOG").env("NO_COLOR", "1");
    command
}

/// Runs a command to its end, which must come soon.
pub fn finish(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawned");
    let pid = Pid::from_child(&child);
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        if stopped.recv_timeout(patience()) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    let stdout = child.stdout.take().expect("piped");
    let reader = thread::spawn(move || read(stdout));
    let stderr = read(child.stderr.take().expect("piped"));
    let stdout = reader.join().expect("read");
    let status = child.wait().expect("waited");
    drop(stop);
    watchdog.join().expect("a watchdog");
    Output { status, stdout, stderr }
}

fn read(mut from: impl std::io::Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).expect("read");
    bytes
}

/// `ghostport detach`, after which nothing is left.
pub fn detach() {
    let output = finish(ghostport().arg("detach"));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!Path::new(PINS).exists(), "{PINS} is still there");
}

/// What a command said on standard error.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a command said on standard output.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
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

    /// Every event in the file now.
    pub fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.events).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
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
