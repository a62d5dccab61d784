//! Measurements with servers that tests know how to start: tests of `monitor` that are ignored
//! otherwise. The release build would change nothing: what is measured is the kernel side, or
//! Prometheus.

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    packages::Need,
    setup::setup,
    test::run_as_root,
    workspace::{cargo, succeed},
};

/// Runs what is ignored in a module of a test program.
pub(super) fn measure(program: &str, module: &str) -> Result<ExitCode> {
    setup(&[Need::Tests])?;
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", "monitor", "--test", program]);
    run_as_root(&mut command)?;
    succeed(command.args(["--", "--ignored", "--nocapture", module]))?;
    Ok(ExitCode::SUCCESS)
}
