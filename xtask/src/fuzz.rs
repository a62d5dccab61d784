//! `cargo xtask fuzz`: `monitor-identify/tests/identify/fuzz.rs`, run here in its release build.
//!
//! A loop of mutations over the corpus, on the stable toolchain: it needs nothing that `setup` does
//! not bring. A failure prints the payload.

use std::{process::ExitCode, time::SystemTime};

use anyhow::Result;

use crate::{
    setup::setup,
    workspace::{cargo, succeed},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long to go on.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Where the numbers begin that choose mutations, to repeat a run; the time of day otherwise.
    #[arg(long)]
    seed: Option<u64>,
}

pub(crate) fn fuzz(args: &Args) -> Result<ExitCode> {
    setup(&[])?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let seed = args.seed.unwrap_or(now.as_secs());
    eprintln!("fuzz: {} s from seed {seed}", args.seconds);
    let mut command = cargo();
    command.env("GHOSTPORT_FUZZ_SECONDS", args.seconds.to_string());
    command.env("GHOSTPORT_FUZZ_SEED", seed.to_string());
    command.args([
        "test",
        "--quiet",
        "--release",
        "--package",
        "monitor-identify",
        "--test",
        "identify",
    ]);
    succeed(command.args(["--", "--ignored", "--nocapture", "fuzz"]))?;
    Ok(ExitCode::SUCCESS)
}
