//! `ghostport selftest`: a bind and a packet in a private network namespace, and the proof that both
//! are seen, by the same programs and mechanisms that the agent would use here.

mod outcome;

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use monitor_common::{
    flow::{Direction, LOOPBACK, Protocol, Side},
    socket_event::{SocketEvent, SocketEventKind},
};

pub use self::outcome::{FOLDER, Outcome};
use crate::config::Config;
use monitor_kernel::{
    Kernel, Options, Streams,
    hooks::{Hook, HookStatus},
    interfaces::Interfaces,
    trial,
};

/// How long the kernel side has for telling what has happened already.
const PATIENCE: Duration = Duration::from_secs(5);

/// Binds and sends, and says in words what saw it. An error says what was not seen.
pub fn run(config: &Config) -> Result<String> {
    trial::run(|| {
        // The ring buffers and netlink belong to this thread's namespace, and to its runtime.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(prove(config))
    })
}

async fn prove(config: &Config) -> Result<String> {
    let netlink = Interfaces::connect().context("cannot ask netlink")?;
    netlink.set_up(LOOPBACK).await.context("cannot set the private loopback interface up")?;
    let port = config.port_numbers().next().context("no port is watched")?;
    let (mut kernel, mut streams) = Kernel::start_unpinned(Options::TRIAL)?;
    kernel.watch(&[port].into())?;
    let mut hooks = kernel.attach_sockets(config.bind_mechanism);
    hooks.extend(kernel.attach_loopback(config.interfaces.mode)?);
    bind_and_send(port)?;
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Seen::default();
    while !seen.all() && Instant::now() < deadline {
        seen.look(&kernel, &mut streams, port);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let unseen = seen.missing();
    ensure!(
        unseen.is_empty(),
        "not seen on port {port}: {}: `ghostport doctor` says why",
        unseen.join(", ")
    );
    Ok(in_words(port, &hooks))
}

/// One socket that sends one datagram to itself.
fn bind_and_send(port: u16) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).context("cannot bind")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(b"ghostport", (Ipv4Addr::LOCALHOST, port)).context("cannot send")?;
    socket.recv(&mut [0; 16]).context("the packet has not arrived")?;
    Ok(())
}

/// What the kernel side has told of.
#[derive(Default)]
struct Seen {
    bind: bool,
    ingress: bool,
    egress: bool,
}

impl Seen {
    fn look(&mut self, kernel: &Kernel, streams: &mut Streams, port: u16) {
        // Socket hooks see every namespace: others may bind the port as well.
        let is_ours = |record: &SocketEvent| {
            record.port == port
                && record.tgid == std::process::id()
                && record.kind == SocketEventKind::Bind as u8
                && record.errno == 0
        };
        streams.events.drain(|record, _| self.bind |= is_ours(record));
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

fn in_words(port: u16, hooks: &[HookStatus]) -> String {
    let by = |hook| {
        let status = hooks.iter().find(|status| status.hook == hook);
        status.and_then(|status| status.attached).map_or("nothing", |mechanism| mechanism.name())
    };
    let mut words = format!("selftest passed on port {port} of a private network namespace\n");
    for (what, hook) in [
        ("a bind", Hook::Bind),
        ("a packet received", Hook::Ingress),
        ("a packet sent", Hook::Egress),
    ] {
        let _ = writeln!(words, "  {what:<18} seen by {}", by(hook));
    }
    words
}
