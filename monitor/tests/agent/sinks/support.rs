//! Binds that sinks must get, and programs that take them.

use std::{
    net::{Ipv4Addr, UdpSocket},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use testkit::{
    agent::Agent,
    eventually, patience,
    receiver::{Answer, Receiver},
    world::port,
};

/// Binds that are timed, each on a port of its own.
pub(super) const TIMED: u16 = 25;

pub(super) fn webhook(receiver: &Receiver) -> String {
    format!("{{kind: webhook, url: \"{}/hook\"}}", receiver.url())
}

pub(super) fn fine() -> Receiver {
    Receiver::start(|_| Answer::Status(200))
}

pub(super) fn bind(offset: u16) {
    drop(UdpSocket::bind((Ipv4Addr::LOCALHOST, port(offset))).expect("a socket"));
}

pub(super) fn lost(agent: &Agent) -> f64 {
    agent.metrics().value("ghostport_events_lost_total", &[("stage", "sink")])
}

/// Events of this kind about the port.
pub(super) fn count(events: &[Value], kind: &str, offset: u16) -> usize {
    let name = format!("ghostport.{kind}");
    let is_it = |event: &&Value| {
        event["event.name"] == *name && event["network.local.port"] == port(offset)
    };
    events.iter().filter(is_it).count()
}

pub(super) fn wait_for_binds(receiver: &Receiver, offset: u16, binds: usize) {
    eventually(&format!("{binds} binds"), || {
        (count(&receiver.elements(), "bind", offset) >= binds).then_some(())
    });
}

/// The median delay between a bind and its arrival, each bind on a port of its own.
pub(super) fn median_delay(what: &str, arrived: impl Fn(u16) -> Option<Instant>) -> Duration {
    let mut delays: Vec<Duration> = (0..TIMED)
        .map(|offset| {
            let start = Instant::now();
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port(offset))).expect("a socket");
            let arrived = eventually("what the bind makes", || arrived(offset));
            drop(socket);
            arrived.duration_since(start)
        })
        .collect();
    delays.sort_unstable();
    let median = delays[delays.len() / 2];
    eprintln!("from bind() to {what}: median {median:?}, longest {:?}", delays[delays.len() - 1]);
    median
}

/// What is to be reached on a machine of its own; an emulated one is slow.
pub(super) fn assert_is_soon(median: Duration) {
    assert!(median < patience() / 300, "{median:?}");
}

/// A program that ends with the test.
pub(super) struct Daemon(Child);

impl Daemon {
    pub(super) fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("spawned"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
