//! `cargo xtask attack`: attacks an agent, as root in namespaces of their own, and prints what came of
//! it. The attacks are in `testkit`; `cargo xtask test` carries out their short form.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};

use crate::{
    packages::Need,
    setup::setup,
    test::run_as_root,
    vm,
    workspace::{cargo, shown},
};

/// The variable by which the attacks know the program, see `testkit::agent::BINARY`.
const BINARY: &str = "GHOSTPORT_TEST_BINARY";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only as much of each attack as shows that the defence is there: a minute instead of ten.
    #[arg(long)]
    short: bool,
    /// Attack this program, an installed one for example, instead of one built from this source.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Also try attacks that set this machine's clock, for some seconds.
    #[arg(long)]
    set_clock: bool,
    /// Only attacks whose aims or names contain this.
    word: Option<String>,
}

pub(crate) fn attack(args: &Args) -> Result<ExitCode> {
    setup(&[Need::Tests])?;
    let mut command = cargo();
    // As the tests are built, so that both share what is built.
    command.args(["test", "--quiet", "--workspace", "--test", "attack"]);
    vm::build_for_guests(&mut command)?;
    run_as_root(&mut command)?;
    if let Some(binary) = &args.binary {
        let found = binary.canonicalize();
        command.env(BINARY, found.with_context(|| format!("no program {}", binary.display()))?);
    }
    command.arg("--");
    for (is_set, flag) in [(!args.short, "--whole"), (args.set_clock, "--set-clock")] {
        if is_set {
            command.arg(flag);
        }
    }
    command.args(&args.word);
    let status = command.status().with_context(|| format!("cannot start {}", shown(&command)))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
