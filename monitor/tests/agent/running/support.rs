//! The agent of these tests, and the only line of a program that complains.

use std::{
    fs,
    net::UdpSocket,
    os::unix::process::CommandExt as _,
    process::{Command, Output, Stdio},
};

use testkit::{
    agent::{Agent, Config, binary, stderr},
    world::{World, port},
};

pub(super) const NOBODY: u32 = 65534;

pub(super) fn watched() -> u16 {
    port(0)
}

pub(super) fn config() -> Config {
    Config::new([watched()]).on(&["lo"])
}

pub(super) fn bind_watched() {
    drop(UdpSocket::bind(("127.0.0.1", watched())).expect("bound"));
}

pub(super) fn binds(agent: &Agent) -> u64 {
    let port = watched().to_string();
    agent.metrics().sum("ghostport_binds_total", &[("port", &port)])
}

/// The one message of a command that failed: the last line, and no other that complains.
#[track_caller]
pub(super) fn only_error(output: &Output) -> String {
    let said = stderr(output);
    let complaints: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("ghostport:") || line.contains("ERROR"))
        .collect();
    assert_eq!(complaints.len(), 1, "{said}");
    assert_eq!(said.lines().last(), Some(complaints[0]), "{said}");
    complaints[0].to_owned()
}

/// A copy of the binary where every user can reach it, to be run without privileges.
pub(super) fn as_nobody(world: &World, arguments: &[&str]) -> Command {
    let copy = world.path("ghostport");
    if !copy.exists() {
        fs::copy(binary(), &copy).expect("copied");
    }
    let mut command = Command::new(copy);
    command.args(arguments).stdin(Stdio::null()).env("NO_COLOR", "1").uid(NOBODY).gid(NOBODY);
    command
}
