//! Measurements with servers that tests know how to start: tests of `monitor` that are ignored
//! otherwise.

use std::{ffi::OsStr, process::ExitCode};

use anyhow::Result;

use crate::{
    packages::Need,
    setup::setup,
    test::run_as_root,
    workspace::{cargo, succeed, target_dir},
};

/// The program that the tests run, if not the one that is built with them: `testkit::agent::BINARY`.
const BINARY: &str = "GHOSTPORT_TEST_BINARY";

/// Runs what is ignored in a module of a test program. The release build would change nothing: what is
/// measured is the kernel side, or Prometheus.
pub(super) fn measure(program: &str, module: &str) -> Result<ExitCode> {
    setup(&[Need::Tests])?;
    run(program, module, None)
}

/// The same with the release build of the binary, which is what is measured.
pub(super) fn measure_release(program: &str, module: &str) -> Result<ExitCode> {
    setup(&[Need::Tests])?;
    eprintln!("bench: building the release");
    succeed(cargo().args(["build", "--release", "--package", "monitor"]))?;
    let binary = target_dir()?.join("release/ghostport");
    run(program, module, Some(binary.as_os_str()))
}

fn run(program: &str, module: &str, binary: Option<&OsStr>) -> Result<ExitCode> {
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", "monitor", "--test", program]);
    run_as_root(&mut command)?;
    if let Some(binary) = binary {
        command.env(BINARY, binary);
    }
    succeed(command.args(["--", "--ignored", "--nocapture", module]))?;
    Ok(ExitCode::SUCCESS)
}
