//! `ghostport selftest`: binds sockets and sends a packet where the running agent recognizes them as a
//! selftest, and checks that every hook has reported them. Without an agent, in a private network
//! namespace, it checks the programs and mechanisms that an agent would use on this host.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use jiff::Timestamp;
use monitor_common::{
    flow::{Direction, LOOPBACK, Protocol, Side},
    socket_record::{Call, SocketRecord},
};

use crate::{
    api::{
        client,
        selftest::{Assignment, FOLDER, SelftestReport, SelftestResult},
    },
    cli::SelftestArgs,
    config::{Config, Overrides},
    sockets,
    terminal::{
        escape::escaped,
        logging::{self, LogLevel},
        output::{CANNOT_WORK, fail, print},
        progress::Progress,
    },
};
use monitor_kernel::{
    Kernel, Options, Streams,
    hooks::{Hook, HookStatus},
    interfaces::Interfaces,
    trial,
};

/// Time limit for records and counters of what has happened already.
const LIMIT: Duration = Duration::from_secs(5);

/// Ports from here on belong to no service (RFC 6335 section 6).
const FIRST_DYNAMIC_PORT: u16 = 49_152;

/// Runs the selftest, and prints what saw the calls.
pub async fn run(args: &SelftestArgs) -> ExitCode {
    logging::init_for_command(LogLevel::Error);
    let _progress =
        Progress::start("opening sockets, and waiting until they are seen", args.progress.quiet);
    let proof = match client::order::<Assignment>("/api/v1/selftest").await {
        Ok(Some(assignment)) => prove_to_agent(&assignment).await,
        // An agent that does not answer is not asked for its result, and gives none.
        Err(error) => Err(error),
        Ok(None) => {
            let proof = prove_without_agent();
            leave_result(&proof);
            proof
        }
    };
    match proof {
        Ok(page) => print(page),
        Err(error) => fail(CANNOT_WORK, &error),
    }
}

/// Leaves the result for the metrics of the next agent.
fn leave_result(proof: &Result<String>) {
    let result = SelftestResult::new(proof.is_ok(), Timestamp::now());
    // After a failure its message is the only one.
    if let Err(error) = result.write(Path::new(FOLDER))
        && proof.is_ok()
    {
        let error = error.to_string();
        eprintln!(
            "ghostport: the agent's metrics will not have this result: {FOLDER}: {}",
            escaped(&error)
        );
    }
}

/// Does what the agent has been told to expect, and asks it what it has seen. An error says which
/// hooks have not.
async fn prove_to_agent(assignment: &Assignment) -> Result<String> {
    let at = SocketAddr::new(assignment.address, assignment.port);
    let sent = open_and_send(at, is_counted_here(assignment.netns_inode));
    // The agent ends the selftest in any case.
    let was_sent = sent.as_ref().is_ok_and(|sent| *sent);
    let path = format!("/api/v1/selftest/result?sent={was_sent}");
    let report = client::order::<SelftestReport>(&path).await?;
    sent?;
    let report = report.context("the agent has ended")?;
    if let Some(failure) = report.failure() {
        bail!("{failure} (port {}): `ghostport doctor` says why", report.port);
    }
    ensure!(report.event_delivered, "the agent's event of the selftest was not delivered");
    Ok(page_of_agent(&report, was_sent))
}

/// Whether the agent counts the packets of this network namespace.
fn is_counted_here(netns_inode: Option<u32>) -> bool {
    netns_inode.is_none() || netns_inode == sockets::own_netns_inode().ok()
}

/// Opens and closes a socket of each kind. If `may_send`, one sends itself a packet; returns whether
/// it did.
fn open_and_send(at: SocketAddr, may_send: bool) -> Result<bool> {
    let datagrams = UdpSocket::bind(at);
    let connections = TcpListener::bind(at);
    let datagrams = match (datagrams, connections) {
        (Ok(datagrams), Ok(_connections)) => datagrams,
        (Err(error), _) | (_, Err(error)) => {
            return Err(anyhow!(error).context(format!("cannot bind {at}")));
        }
    };
    if may_send {
        send_to_itself(&datagrams)?;
    }
    Ok(may_send)
}

fn page_of_agent(report: &SelftestReport, sent: bool) -> String {
    let mut page = format!("selftest of the running agent passed on port {}\n", report.port);
    for result in &report.hooks {
        let by = result.mechanism.map_or("nothing", |mechanism| mechanism.name());
        let _ = writeln!(page, "  {:<18} seen by {by}", what(result.hook));
    }
    if report.hooks.iter().all(|result| result.hook != Hook::Ingress) {
        let why = if sent {
            "lo has no hook: it is not counted, or doctor says why"
        } else {
            "this command runs in another network namespace than the agent"
        };
        let _ = writeln!(page, "  {:<18} not tested: {why}", "packets");
    }
    let _ = writeln!(page, "  {:<18} delivered", "its event");
    page
}

/// What a hook sees, as a page calls it.
const fn what(hook: Hook) -> &'static str {
    match hook {
        Hook::Ingress => "a packet received",
        Hook::Egress => "a packet sent",
        Hook::Bind => "a bind",
        Hook::Listen => "a listener",
        Hook::Close => "a close",
        Hook::Connect => "a call that sends",
    }
}

/// Runs without an agent. An error says what the configuration or the trial lacks.
fn prove_without_agent() -> Result<String> {
    let config = Config::load(None, &Overrides::default())?;
    prove_in_private_namespace(&config)
}

/// Returns the page that says what saw the calls; an error says what was not seen.
fn prove_in_private_namespace(config: &Config) -> Result<String> {
    trial::run(|| {
        // The ring buffers and netlink belong to this thread's namespace, and to its runtime.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(prove(config))
    })
}

async fn prove(config: &Config) -> Result<String> {
    let netlink = Interfaces::connect().context("cannot ask netlink")?;
    netlink.set_up(LOOPBACK).context("cannot set the private loopback interface up")?;
    let port = unwatched_port(config).context("every port is watched")?;
    let (mut kernel, mut streams) = Kernel::start_unpinned(Options::TRIAL)?;
    kernel.watch(&[port].into())?;
    let mut hooks = kernel.attach_sockets(config.bind_mechanism);
    hooks.extend(kernel.attach_loopback(config.interfaces.mode)?);
    bind_and_send(port)?;
    let deadline = Instant::now() + LIMIT;
    let mut seen = Seen::default();
    while !seen.all() && Instant::now() < deadline {
        seen.update(&kernel, &mut streams, port);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let unseen = seen.missing();
    ensure!(
        unseen.is_empty(),
        "not seen on port {port}: {}: `ghostport doctor` says why",
        unseen.join(", ")
    );
    Ok(page(port, &hooks))
}

/// A port that the configuration does not have: socket hooks see every network namespace, and an agent
/// that this command cannot ask would report a bind of a watched one.
fn unwatched_port(config: &Config) -> Option<u16> {
    let watched: BTreeSet<u16> = config.port_numbers().collect();
    (FIRST_DYNAMIC_PORT..=u16::MAX)
        .chain(1..FIRST_DYNAMIC_PORT)
        .find(|port| !watched.contains(port))
}

/// Binds one socket and sends one datagram from it to itself.
fn bind_and_send(port: u16) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).context("cannot bind")?;
    send_to_itself(&socket)
}

fn send_to_itself(socket: &UdpSocket) -> Result<()> {
    socket.set_read_timeout(Some(LIMIT))?;
    socket.send_to(b"ghostport", socket.local_addr()?).context("cannot send")?;
    socket.recv(&mut [0; 16]).context("the packet has not arrived")?;
    Ok(())
}

/// What the kernel side has recorded.
#[derive(Default)]
struct Seen {
    bind: bool,
    ingress: bool,
    egress: bool,
}

impl Seen {
    fn update(&mut self, kernel: &Kernel, streams: &mut Streams, port: u16) {
        // Socket hooks see every namespace: other processes may bind the port as well.
        let is_ours = |record: &SocketRecord| {
            let caller = record.caller.as_ref();
            record.port == port
                && record.call == Call::Bind { errno: None }
                && caller.is_some_and(|caller| caller.tgid == std::process::id())
        };
        streams.events.receive_pending(|record| self.bind |= is_ours(&record));
        let counters = kernel.port_counters();
        let counted = |direction| {
            let packets = |side| {
                let rows = counters.traffic.iter().filter(|row| row.port == port);
                rows.map(|row| row.counters.traffic(Protocol::Udp, direction, side).packets)
                    .sum::<u64>()
            };
            Side::ALL.map(packets).iter().sum::<u64>() > 0
        };
        self.ingress = counted(Direction::Ingress);
        self.egress = counted(Direction::Egress);
    }

    const fn all(&self) -> bool {
        self.bind && self.ingress && self.egress
    }

    fn missing(&self) -> Vec<&'static str> {
        let parts = [
            (self.bind, "the bind"),
            (self.ingress, "the packet as it was received"),
            (self.egress, "the packet as it was sent"),
        ];
        parts.into_iter().filter(|(seen, _)| !seen).map(|(_, what)| what).collect()
    }
}

fn page(port: u16, hooks: &[HookStatus]) -> String {
    let by = |hook| {
        let status = hooks.iter().find(|status| status.hook == hook);
        status.and_then(|status| status.attached).map_or("nothing", |mechanism| mechanism.name())
    };
    let mut page = format!("selftest passed on port {port} of a private network namespace\n");
    for hook in [Hook::Bind, Hook::Ingress, Hook::Egress] {
        let _ = writeln!(page, "  {:<18} seen by {}", what(hook), by(hook));
    }
    page
}
