//! What the integration tests share: a world of its own for each of them, the agent in it, frames
//! to send, and programs of others.
//!
//! Nothing here knows the insides of ghostport: the binary is run, and what it says and serves is
//! read.

pub mod agent;
pub mod calls;
pub mod frames;
pub mod http;
pub mod metrics;
pub mod process;
pub mod programs;
pub mod uring;
pub mod wire;
pub mod world;

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// How long anything may take that should happen at once; generous, for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until `check` has something; panics with `what` when it never does.
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
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
