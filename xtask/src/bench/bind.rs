//! What it costs a program that its binds are seen: `monitor/tests/kernel/bind_cost.rs`, run here in its
//! release build, or in guests.

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    packages::Need,
    setup::setup,
    test::run_as_root,
    vm,
    workspace::{cargo, succeed},
};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Kernels to boot for it (5.10, 6.1, 6.12, 6.18, 7.x); this machine's own where none is named.
    kernels: Vec<String>,
}

pub(super) fn measure(args: &Args) -> Result<ExitCode> {
    setup(&[Need::Tests, Need::Comparison])?;
    if args.kernels.is_empty() {
        let mut command = cargo();
        command.args(["test", "--quiet", "--release", "--package", "monitor"]);
        command.args(["--test", "kernel"]);
        run_as_root(&mut command)?;
        // One after another: each would count the other's calls.
        succeed(command.args([
            "--",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
            "bind_cost::",
        ]))?;
    } else {
        print!("{}", vm::bind_cost(&args.kernels)?);
    }
    Ok(ExitCode::SUCCESS)
}
