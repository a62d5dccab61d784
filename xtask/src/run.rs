//! `cargo xtask run`: from a checkout to a running agent.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::ExitCode};

use anyhow::{Context as _, Result};

use crate::{
    privilege::as_root,
    setup::setup,
    workspace::{cargo, shown, succeed, target_dir},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments for `ghostport run`.
    #[arg(last = true)]
    agent: Vec<OsString>,
}

/// Returns only when the agent could not be started: it takes this process over, so that signals
/// reach it and its exit code is the caller's.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup(&[])?;
    eprintln!("run: building the release");
    succeed(cargo().args(["build", "--release", "--package", "monitor"]))?;
    let binary = target_dir()?.join("release/ghostport");
    let mut agent = as_root(&binary)?;
    agent.arg("run").args(&args.agent);
    eprintln!("run: starting as root: {}", shown(&agent));
    let error = agent.exec();
    Err(error).with_context(|| format!("cannot start {}", binary.display()))
}
