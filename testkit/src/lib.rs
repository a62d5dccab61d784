//! What the integration tests share: a world of its own for each of them, the agent in it, frames
//! to send, and programs of others.
//!
//! Nothing here knows the insides of ghostport: the binary is run, and what it says and serves is
//! read.

pub mod agent;
pub mod alertmanager;
pub mod attack;
pub mod attacks;
pub mod bpf;
pub mod browser;
pub mod calls;
pub mod certificates;
pub mod child;
pub mod compat;
pub mod connect_filter;
pub mod frames;
pub mod hanging_mount;
pub mod happenings;
pub mod http;
pub mod impostor;
pub mod ipvs;
pub mod kannel;
pub mod kernel;
pub mod logged;
pub mod metrics;
pub mod namespaces;
pub mod panels;
pub mod privileges;
pub mod process;
pub mod programs;
pub mod prometheus;
pub mod realtime;
pub mod receiver;
pub mod recording;
pub mod rsyslog;
pub mod servers;
pub mod sk_lookup;
pub mod socket_map;
pub mod stuck;
pub mod systemd;
pub mod tls;
pub mod uring;
pub mod victoria;
pub mod wire;
pub mod world;
pub mod xdp_socket;

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// How many times smaller a load must be than on a machine of its own: emulated ones are slow, and
/// who runs the tests there says so by `GHOSTPORT_TEST_SCALE`.
fn scale() -> u64 {
    let scale = std::env::var("GHOSTPORT_TEST_SCALE").ok();
    scale.map_or(1, |scale| scale.parse().expect("GHOSTPORT_TEST_SCALE is a number"))
}

/// Whether this machine is a guest of ours.
pub fn is_emulated() -> bool {
    scale() != 1
}

/// A load in proportion to the machine.
pub fn scaled(load: u64) -> u64 {
    load / scale()
}

/// How long anything may take that should happen at once; generous, for a busy machine, and more so
/// for one that is emulated on a busy one.
pub fn patience() -> Duration {
    Duration::from_secs(if is_emulated() { 150 } else { 30 })
}

/// Waits until `check` has something; panics with `what` when it never does.
pub fn eventually<T>(what: &str, check: impl FnMut() -> Option<T>) -> T {
    eventually_within(patience(), what, check)
}

/// The same for what takes longer than anything else.
pub fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut check: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a command line in this thread's namespaces, which must succeed. Returns what it said.
pub fn sh(line: &str) -> String {
    let (succeeded, said) = try_sh(line);
    assert!(succeeded, "{line}: {said}");
    said
}

/// Runs a command line in this thread's namespaces. Returns whether it succeeded, and what it said.
pub fn try_sh(line: &str) -> (bool, String) {
    let mut words = line.split_ascii_whitespace();
    let mut command = Command::new(words.next().expect("a program"));
    let output = command.args(words).output().unwrap_or_else(|error| panic!("{line}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}
