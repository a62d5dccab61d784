//! What an identification costs: `monitor-identify/tests/identify/cost.rs`, run here in its release build.

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    setup::setup,
    workspace::{cargo, succeed},
};

pub(super) fn measure() -> Result<ExitCode> {
    setup(&[])?;
    let mut command = cargo();
    command.args([
        "test",
        "--quiet",
        "--release",
        "--package",
        "monitor-identify",
        "--test",
        "identify",
    ]);
    succeed(command.args(["--", "--ignored", "--nocapture", "cost"]))?;
    Ok(ExitCode::SUCCESS)
}
