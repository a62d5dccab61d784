//! What a thousand hosts are to one Prometheus: `monitor/tests/fleet.rs`, run here. The release build
//! would change nothing: what is measured is Prometheus.

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    setup::{Need, setup},
    test::run_as_root,
    workspace::{cargo, succeed},
};

pub(super) fn measure() -> Result<ExitCode> {
    setup(&[Need::Tests])?;
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", "monitor", "--test", "fleet"]);
    run_as_root(&mut command)?;
    succeed(command.args(["--", "--ignored", "--nocapture"]))?;
    Ok(ExitCode::SUCCESS)
}
