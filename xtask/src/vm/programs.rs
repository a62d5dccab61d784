//! The programs that run in guests: the integration tests and the binary they start, linked
//! statically, because a guest has no libraries; and the guest's first process.

use std::{
    collections::BTreeMap,
    iter,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::progress::say;
use crate::{target::Target, workspace::shown};

/// What was built, by absolute path: tests name the binary by the path that it had when they were
/// compiled, so all of them lie at the same places in the guest.
pub(super) struct Programs {
    /// Test programs by name.
    pub(super) tests: BTreeMap<String, PathBuf>,
    /// The binary under test.
    pub(super) ghostport: PathBuf,
    pub(super) init: PathBuf,
}

/// Builds in a folder of its own: other flags in the same one would throw away what is there. One
/// command for the whole workspace, as for the tests of this machine: another choice of packages is
/// another choice of features, with which dependencies and all that use them are built once more.
pub(super) fn build(target: &Target, folder: &Path, tests: &[&str]) -> Result<Programs> {
    say(&format!("building the test programs for {}", target.arch.debian()));
    let mut command = target.cargo();
    command.args(["build", "--workspace", "--bin", "ghostport", "--bin", "guest-init"]);
    command.args(tests.iter().flat_map(|test| ["--test", test]));
    let (tests, mut others) = built(&mut command, target, folder)?;
    let mut program =
        |name: &str| others.remove(name).with_context(|| format!("cargo has not built {name}"));
    Ok(Programs { tests, ghostport: program("ghostport")?, init: program("guest-init")? })
}

type Built = BTreeMap<String, PathBuf>;

/// Makes cargo build what runs in guests, and here as well if the architecture is the same.
pub(super) fn for_guests(command: &mut Command, target: &Target, folder: &Path) {
    command.args(["--profile", "guest", "--target-dir"]).arg(folder);
    target.build_static(command, iter::empty());
}

/// Runs cargo; returns the tests and the other programs that it has built, or had already.
fn built(command: &mut Command, target: &Target, folder: &Path) -> Result<(Built, Built)> {
    for_guests(command, target, folder);
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
