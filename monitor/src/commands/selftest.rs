//! `ghostport selftest`: binds a socket and sends a packet in a private network namespace, and checks
//! that both are seen by the programs and mechanisms that the agent would use on this host.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, UdpSocket},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use monitor_common::{
    flow::{Direction, LOOPBACK, Protocol, Side},
    socket_record::{Call, SocketRecord},
};

use crate::{
    api::selftest::{FOLDER, SelftestResult},
    config::{Config, Overrides},
    terminal::{
        escape::escaped,
        logging::{self, LogLevel},
        output::{CANNOT_WORK, fail, print},
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

/// Runs the selftest, leaves its result for the agent's metrics, and prints what saw the calls.
pub fn run() -> ExitCode {
    logging::init_for_command(LogLevel::Error);
    let config = Config::load(None, &Overrides::default()).map_err(anyhow::Error::from);
    let proof = config.and_then(|config| prove_in_private_namespace(&config));
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
    match proof {
        Ok(page) => print(page),
        Err(error) => fail(CANNOT_WORK, &error),
    }
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
    let port = config.port_numbers().next().context("no port is watched")?;
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

/// Binds one socket and sends one datagram from it to itself.
fn bind_and_send(port: u16) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).context("cannot bind")?;
    socket.set_read_timeout(Some(LIMIT))?;
    socket.send_to(b"ghostport", (Ipv4Addr::LOCALHOST, port)).context("cannot send")?;
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
    for (what, hook) in [
        ("a bind", Hook::Bind),
        ("a packet received", Hook::Ingress),
        ("a packet sent", Hook::Egress),
    ] {
        let _ = writeln!(page, "  {what:<18} seen by {}", by(hook));
    }
    page
}
