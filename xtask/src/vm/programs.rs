//! The programs that run in guests: the integration tests and the binary they start, linked
//! statically, because a guest has no libraries; and the guest's first process.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::say;
use crate::workspace::{cargo, shown};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What was built, by absolute path: tests name the binary by the path that it had when they were
/// compiled, so all of them lie at the same places in the guest.
pub(super) struct Programs {
    /// Test programs by name.
    pub(super) tests: BTreeMap<String, PathBuf>,
    /// The binary under test.
    pub(super) ghostport: PathBuf,
    pub(super) init: PathBuf,
}

/// Builds in a folder of its own: other flags in the same one would throw away what is there.
pub(super) fn build(folder: &Path, tests: &[&str]) -> Result<Programs> {
    say("building the test programs");
    let mut command = cargo();
    command.args(["test", "--no-run", "--package", "monitor"]);
    command.args(tests.iter().flat_map(|test| ["--test", test]));
    let (tests, mut others) = built(&mut command, folder)?;
    let mut command = cargo();
    command.args(["build", "--package", "xtask", "--bin", "guest-init"]);
    let (_, init) = built(&mut command, folder)?;
    others.extend(init);
    let mut program =
        |name: &str| others.remove(name).with_context(|| format!("cargo has not built {name}"));
    Ok(Programs { tests, ghostport: program("ghostport")?, init: program("guest-init")? })
}

type Built = BTreeMap<String, PathBuf>;

/// Makes cargo build what runs in guests, and here as well.
pub(super) fn for_guests(command: &mut Command, folder: &Path) {
    command
        .args(["--profile", "guest", "--target", TARGET, "--target-dir"])
        .arg(folder)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
}

/// Runs cargo; returns the tests and the other programs that it has built, or had already.
fn built(command: &mut Command, folder: &Path) -> Result<(Built, Built)> {
    for_guests(command, folder);
    command
        .args(["--quiet", "--message-format=json-render-diagnostics"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("cannot start {}", shown(command)))?;
    ensure!(output.status.success(), "{} failed: {}", shown(command), output.status);
    let (mut tests, mut others) = (Built::new(), Built::new());
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: Value = serde_json::from_str(line).context("cargo says what is no JSON")?;
        let name = message["target"]["name"].as_str();
        if let (Some(name), Some(program)) = (name, message["executable"].as_str()) {
            let is_test = message["profile"]["test"] == true;
            let programs = if is_test { &mut tests } else { &mut others };
            programs.insert(name.to_owned(), PathBuf::from(program));
        }
    }
    Ok((tests, others))
}
