//! The binary under test, as a command.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;

use crate::patience;

/// Where the agent pins what outlives it.
pub const PINS: &str = "/sys/fs/bpf/ghostport";

/// The variable that names another binary to be tested, an installed one for example.
pub const BINARY: &str = "GHOSTPORT_TEST_BINARY";

/// Path of the binary under test. Cargo builds it into the folder above that of the test programs;
/// both lie at the same places in a guest.
pub fn binary() -> PathBuf {
    if let Some(binary) = env::var_os(BINARY) {
        return binary.into();
    }
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

/// The binary under test on a terminal of 80 columns, which `script` makes: it passes on what is written
/// there, the exit code, and not what goes to stderr.
pub fn ghostport_on_a_terminal(arguments: &[&str]) -> Command {
    let program = binary();
    let words = [&[program.to_str().expect("a path")], arguments, &["2>/dev/null"]].concat();
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]);
    command.stdin(Stdio::null()).env_remove("RUST_LOG").env("NO_COLOR", "1").env("COLUMNS", "80");
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

/// The document that a command printed.
#[track_caller]
pub fn json<T: DeserializeOwned>(output: &Output) -> T {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", stdout(output), stderr(output)))
}
