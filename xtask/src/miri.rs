//! `cargo xtask miri`: the tests of the pure packages under Miri, which finds undefined behaviour in
//! dependencies and arithmetic that depends on the platform.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use bpf_toolchain::find_program;

use crate::{
    check::Outcome,
    workspace::{PURE_PACKAGES, root, succeed, target_dir},
};

const MISSING: &str = "no nightly toolchain with Miri: \
    rustup toolchain install nightly --component miri,rust-src";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments for the test programs, names to filter by for instance.
    #[arg(last = true)]
    harness: Vec<String>,
}

pub(crate) fn miri(args: &Args) -> Result<ExitCode> {
    if !is_installed() {
        bail!(MISSING);
    }
    succeed(command()?.arg("--").args(&args.harness))?;
    Ok(ExitCode::SUCCESS)
}

/// The same as one of the checks, where Miri is installed.
pub(crate) fn check() -> Result<Outcome> {
    if !is_installed() {
        return Ok(Outcome::Skipped(MISSING.to_owned()));
    }
    Outcome::of(&mut command()?)
}

fn is_installed() -> bool {
    find_program("rustup").is_some_and(|rustup| {
        let mut question = Command::new(rustup);
        question.args(["run", "nightly", "cargo-miri", "miri", "--version"]);
        question.output().is_ok_and(|answer| answer.status.success())
    })
}

fn command() -> Result<Command> {
    let mut command = Command::new(find_program("rustup").context("no rustup")?);
    command.args(["run", "nightly", "cargo", "miri", "test"]).current_dir(root());
    command.args(PURE_PACKAGES.iter().flat_map(|package| ["--package", package]));
    command.arg("--target-dir").arg(target_dir()?.join("miri"));
    // Tests read the corpus. This cargo is not the one that runs us.
    command.env("MIRIFLAGS", "-Zmiri-disable-isolation");
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env_remove("RUSTC");
    Ok(command)
}
