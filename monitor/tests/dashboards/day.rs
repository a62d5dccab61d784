//! A day of a busy host, shortened: services restart and are deployed, scanners come by, containers
//! come and go, the agent itself restarts, and then an intruder breaks in. The messages that reach a
//! person are those of the table in `docs/operate/alerts.md`.

use std::{
    collections::BTreeSet,
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use testkit::{
    agent::{Agent, Config, finish, ghostport},
    alertmanager::{Alertmanager, Notification, Webhook},
    eventually,
    happenings::ELSEWHERE,
    patience,
    prometheus::{Prometheus, every_second},
    sh,
    world::{HERE, Peer, THERE, World, in_world, port},
};

use super::support::{TARGET, alerts_of_target};

/// What five minutes of the rules are in this day.
const FIVE_MINUTES: &str = "15s";
/// How long a step waits for its messages: a scrape, an evaluation and the waits of both routes.
const SETTLE: Duration = Duration::from_secs(6);

/// Rules whose minutes are seconds.
fn shortened(text: &str) -> String {
    every_second(text)
        .replace("[5m]", &format!("[{FIVE_MINUTES}]"))
        .replace("offset 5m", &format!("offset {FIVE_MINUTES}"))
        .replace("[1h]", "[3m]")
        .replace("time() - 300", "time() - 15")
        .replace("for: 2m", "for: 4s")
        .replace("for: 5m", "for: 10s")
}

/// The service whose port is watched and whose program `expect` names.
fn service() -> u16 {
    port(0)
}

/// A dormant port, until the intruder comes.
fn dormant() -> u16 {
    port(1)
}

/// A dormant port, until a scanner comes.
fn scanned() -> u16 {
    port(2)
}

/// A watched port in the words of the table.
fn named(port: &str) -> &'static str {
    let ports = [
        (service(), "the service's port"),
        (dormant(), "the dormant port"),
        (scanned(), "the scanned port"),
        (ELSEWHERE, "port 2948"),
    ];
    let found = ports.iter().find(|(number, _)| number.to_string() == port);
    found.map_or("no port", |(_, name)| name)
}

/// A server, which accepts and answers until it is stopped.
const SERVER: &str = r#"
    use IO::Socket::INET;
    my $s = IO::Socket::INET->new(
        LocalAddr => $ARGV[0], LocalPort => $ARGV[1], Listen => 64, ReuseAddr => 1) or die;
    while (my $c = $s->accept) { $c->recv(my $b, 512); print $c "HTTP/1.0 200 OK\r\n\r\n"; close $c }
"#;

/// Binds a dormant port, is refused on the port of the service, and connects to elsewhere.
const INTRUDER: &str = r#"
    use IO::Socket::INET;
    my ($here, $dormant, $service, $there, $elsewhere) = @ARGV;
    my $s = IO::Socket::INET->new(LocalAddr => $here, LocalPort => $dormant, Listen => 8) or die;
    IO::Socket::INET->new(LocalAddr => $here, LocalPort => $service, Listen => 8) and die;
    IO::Socket::INET->new(PeerAddr => $there, PeerPort => $elsewhere, Timeout => 2);
    while (my $c = $s->accept) { $c->recv(my $b, 512); print $c "sh-5.2# "; close $c }
"#;

/// A program of its own file, which runs a script.
fn program(world: &World, name: &str) -> PathBuf {
    let path = world.path(name);
    fs::copy("/usr/bin/perl", &path).expect("copied");
    path
}

/// A process that ends with the test.
struct Process(Child);

impl Process {
    fn start(program: &Path, script: &str, arguments: &[String]) -> Self {
        let mut command = Command::new(program);
        command.arg("-e").arg(script).args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("spawned"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Clients that come twenty times a second, whether the service is there or not.
struct Clients {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Clients {
    fn start(peer: &Arc<Peer>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, from) = (Arc::clone(&stop), Arc::clone(peer));
        let come = move || {
            while !stopped.load(Ordering::Relaxed) {
                from.run(|| drop(knock(service())));
                thread::sleep(Duration::from_millis(50));
            }
        };
        let thread = thread::Builder::new().name("clients".into()).spawn(come).expect("spawned");
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Connects from the thread's namespace, asks, and reads what comes.
fn knock(port: u16) -> std::io::Result<String> {
    use std::io::{Read as _, Write as _};
    let address = SocketAddr::from((HERE, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The host on this day.
struct Day<'world> {
    world: &'world World,
    peer: Arc<Peer>,
    config: Config,
    agent: Option<Agent>,
    server: Option<Process>,
    intruder: Option<Process>,
    programs: [PathBuf; 2],
}

impl<'world> Day<'world> {
    fn new(world: &'world World) -> Self {
        let programs = ["wapd", "kworkerd"].map(|name| program(world, name));
        let expect = format!("expect: [{{exe: {}}}]", programs[0].display());
        let config = Config::new([service(), dormant(), scanned(), ELSEWHERE])
            .on(&["lo", "gp*", "veth*"])
            .with_port_keys(&expect)
            .with_sinks([alerts_of_target()]);
        let peer = Arc::new(world.peer());
        let mut day =
            Self { world, peer, config, agent: None, server: None, intruder: None, programs };
        day.serve();
        day.agent = Some(Agent::start(world, &day.config));
        day
    }

    /// Starts the service, once no earlier one holds its port. It lives at least until the agent has
    /// seen its bind.
    fn serve(&mut self) {
        self.server = None;
        let binds = self.binds(service());
        let arguments = [HERE.to_string(), service().to_string()];
        self.server = Some(Process::start(&self.programs[0], SERVER, &arguments));
        self.await_answer(service());
        eventually("the event of its bind", || {
            (self.binds(service()) > binds || self.agent.is_none()).then_some(())
        });
    }

    /// Binds that the agent has seen. The first of a program has an event at once, later ones are
    /// summed up, but every one is counted.
    fn binds(&self, port: u16) -> u64 {
        let port = port.to_string();
        let labels = [("port", &*port), ("result", "success")];
        self.agent.as_ref().map_or(0, |agent| agent.metrics().sum("ghostport_binds_total", &labels))
    }

    fn await_answer(&self, port: u16) {
        eventually("an answer", || self.peer.run(move || knock(port)).ok().map(drop));
    }

    fn burst(&self, port: u16, packets: u32) {
        self.peer.run(move || (0..packets).for_each(|_| drop(knock(port))));
    }

    fn live(&mut self, step: &str) {
        match step {
            "the service answers its clients" => self.await_answer(service()),
            "the service restarts three times" => (0..3).for_each(|_| self.serve()),
            "a new version is deployed" => {
                self.server = None;
                let [path, _] = &self.programs;
                let new = path.with_extension("new");
                fs::copy("/usr/bin/perl", &new).expect("copied");
                fs::rename(new, path).expect("renamed");
                self.serve();
            }
            "the service stops, and 400 clients come" => {
                self.server = None;
                self.burst(service(), 400);
                self.serve();
            }
            "a scanner comes by" => self.burst(scanned(), 3),
            "twenty containers come and go" => {
                for number in 0..20 {
                    let container = Peer::alone();
                    self.world.veth(&format!("veth{number}"), &container, "eth0");
                    container.run(|| drop(TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, 80))));
                    sh(&format!("ip link del veth{number}"));
                }
            }
            "the configuration is reloaded" => {
                self.config.write(self.world);
                assert!(self.agent.as_ref().expect("an agent").reload());
            }
            "the agent restarts" => {
                assert!(self.agent.take().expect("an agent").terminate().success());
                self.agent = Some(Agent::start(self.world, &self.config));
            }
            "the agent is killed, and starts again" => {
                self.agent.take().expect("an agent").kill9();
                self.agent = Some(Agent::start(self.world, &self.config));
            }
            "the selftest runs" => assert!(finish(ghostport().arg("selftest")).status.success()),
            "an intruder comes" => {
                let [here, there] = [HERE, THERE].map(|address| address.to_string());
                let ports = [dormant(), service(), ELSEWHERE].map(|port| port.to_string());
                let [dormant, service, elsewhere] = ports;
                let arguments = [here, dormant, service, there, elsewhere];
                self.intruder = Some(Process::start(&self.programs[1], INTRUDER, &arguments));
                // A packet that comes before the bind would be what awakens the port.
                eventually("its bind", || (self.binds(self::dormant()) > 0).then_some(()));
                self.await_answer(self::dormant());
            }
            step => panic!("no step: {step}"),
        }
    }
}

const PAGE: &str = include_str!("../../../docs/operate/alerts.md");

/// The rows of the table: a step, and what is sent to which receiver.
fn declared() -> Vec<(&'static str, BTreeSet<String>)> {
    let rows = PAGE.lines().skip_while(|line| !line.starts_with("| what happens |"));
    let rows = rows.map_while(|line| line.strip_prefix("| ")?.strip_suffix(" |")).skip(2);
    let cells = rows.map(|row| row.split(" | ").collect::<Vec<_>>());
    cells
        .map(|cells| {
            let messages = cells[1].split(", ").filter(|words| *words != "nothing");
            (cells[0], messages.map(str::to_owned).collect())
        })
        .collect()
}

/// What messages say, in the words of the table: `page: GhostportBindOnDormantPort`.
fn in_words(messages: &[Notification]) -> BTreeSet<String> {
    let firing = messages.iter().filter(|message| message.body["status"] == "firing");
    let words = firing.flat_map(|message| {
        let receiver = if message.path == "/on-call" { "page" } else { "team" };
        let alerts = message.body["alerts"].as_array().expect("alerts");
        let firing = alerts.iter().filter(|alert| alert["status"] == "firing");
        firing.map(move |alert| {
            let label = |name: &str| alert["labels"][name].as_str().unwrap_or_default();
            format!("{receiver}: {} of {}", label("alertname"), named(label("port")))
        })
    });
    words.collect()
}

#[test]
fn pages_on_a_busy_day_are_exactly_the_intrusion() {
    in_world(|world| {
        let prometheus = Prometheus::start_with(world, 9090, "prometheus.yml", shortened);
        let _alertmanager = Alertmanager::start_quick(world);
        let webhook = Webhook::start();
        let mut day = Day::new(world);
        prometheus.scrape(&[TARGET]);
        let _clients = Clients::start(&day.peer);
        eventually("a scrape", || {
            (!prometheus.query("ghostport_build_info").is_empty()).then_some(())
        });
        let mut wrong = Vec::new();
        let (mut pages, mut declared_pages) = (0, 0);
        for (step, expected) in declared() {
            let start = Instant::now();
            day.live(step);
            let messages = messages_of_a_step(&webhook, &expected);
            let found = in_words(&messages);
            pages += messages.iter().filter(|message| is_page(message)).count();
            eprintln!("{:.1} s  {step}: {found:?}", start.elapsed().as_secs_f32());
            if found != expected {
                let bodies: Vec<_> = messages.iter().map(|message| &message.body).collect();
                wrong.push(format!("{step}: sent {found:?}, declared {expected:?}: {bodies:#?}"));
            }
            declared_pages += expected.iter().filter(|words| words.starts_with("page")).count();
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(pages, declared_pages, "each page is one message");
    });
}

/// What is sent until all is there that is declared, and for as long as anything else would take.
fn messages_of_a_step(webhook: &Webhook, expected: &BTreeSet<String>) -> Vec<Notification> {
    let deadline = Instant::now() + patience();
    let mut messages = webhook.within(SETTLE);
    while !expected.is_subset(&in_words(&messages)) && Instant::now() < deadline {
        messages.extend(webhook.within(SETTLE));
    }
    messages
}

fn is_page(message: &Notification) -> bool {
    message.path == "/on-call" && message.body["status"] == "firing"
}
