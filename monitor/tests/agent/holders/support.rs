//! What `check` reports, and processes that hold a socket.

use std::{
    collections::BTreeSet,
    fs::{self},
    net::UdpSocket,
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use ghostport::api::{
    port::Ports,
    socket::{self, Socket},
};
use serde::de::DeserializeOwned;
use testkit::{
    agent::{finish, ghostport, json, stderr, stdout},
    calls::v4,
    eventually,
    world::World,
};

pub(super) const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What `check` says of some ports, and its exit code.
pub(super) fn check(ports: &[u16]) -> (Option<i32>, Ports) {
    check_as(ports)
}

/// The same, read as another type.
pub(super) fn check_as<T: DeserializeOwned>(ports: &[u16]) -> (Option<i32>, T) {
    let mut command = ghostport();
    command.arg("check").args(ports.iter().map(u16::to_string)).arg("--json");
    let output = finish(&mut command);
    (output.status.code(), json(&output))
}

/// The sockets of the first port in a document.
pub(super) fn sockets(document: &Ports) -> &[Socket] {
    &document.ports.first().expect("a port").sockets
}

/// The only socket on a port.
#[track_caller]
pub(super) fn only_socket(port: u16) -> Socket {
    let (code, document) = check(&[port]);
    let sockets = sockets(&document);
    assert_eq!((code, sockets.len()), (Some(1), 1), "{document:#?}");
    sockets[0].clone()
}

/// The processes that hold a socket. They must be known.
pub(super) fn pids(socket: &Socket) -> BTreeSet<u32> {
    holders(socket).iter().map(|holder| holder.pid).collect()
}

pub(super) fn holders(socket: &Socket) -> &[Arc<socket::Holder>] {
    socket.holders.as_deref().expect("holders")
}

pub(super) fn these(pids: &[u32]) -> BTreeSet<u32> {
    pids.iter().copied().collect()
}

/// The only holder of the only socket on a port.
#[track_caller]
pub(super) fn only_holder(port: u16) -> Arc<socket::Holder> {
    let socket = only_socket(port);
    assert_eq!(holders(&socket).len(), 1, "{socket:#?}");
    Arc::clone(&holders(&socket)[0])
}

pub(super) fn bound_udp(port: u16) -> OwnedFd {
    UdpSocket::bind(v4(port)).expect("bound").into()
}

/// A program that runs until this is dropped, with a socket as its standard input.
pub(super) struct Holder(pub(super) Child);

impl Holder {
    /// `cat`, which waits for what never comes.
    pub(super) fn start(socket: OwnedFd) -> Self {
        Self::run(Command::new("cat"), socket)
    }

    /// The command keeps the socket for itself, too, and ends here for that.
    pub(super) fn run(mut command: Command, socket: OwnedFd) -> Self {
        let command = command.stdin(Stdio::from(socket)).stdout(Stdio::null());
        Self(command.spawn().expect("spawned"))
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it has the name of what it executes.
    pub(super) fn named(self, name: &str) -> Self {
        eventually("a program that is executed", || {
            let comm = fs::read_to_string(format!("/proc/{}/comm", self.pid())).ok()?;
            (comm.trim_end() == name).then_some(())
        });
        self
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program of this test's own, started with a socket on a port.
pub(super) fn copied(world: &World, name: &str, port: u16) -> (PathBuf, Holder) {
    let path = world.path(name);
    fs::copy("/bin/cat", &path).expect("copied");
    let holder = Holder::run(Command::new(&path), bound_udp(port));
    let comm: String = name.chars().take(15).collect();
    (path, holder.named(&comm))
}

pub(super) fn page(port: u16) -> String {
    let output = finish(ghostport().args(["check", &port.to_string()]));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    stdout(&output)
}
