//! `cargo xtask test`: every test, in the order in which failures are cheapest to understand.

use std::{
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::{Context as _, Result};

use self::installation::Installation;
use crate::{
    packages::Need,
    privilege::{as_root, is_root},
    setup::setup,
    timing, vm,
    workspace::{cargo, shown},
};

mod installation;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments for the test programs: names to filter by, `--nocapture` and the like.
    #[arg(last = true)]
    harness: Vec<String>,
}

struct Suite {
    name: &'static str,
    targets: &'static [&'static str],
    /// Whether its tests load programs into the kernel. Those run one at a time: they share the
    /// machine's tracepoints, and measure time.
    kernel: bool,
}

const SUITES: &[Suite] = &[
    Suite { name: "unit tests", targets: &["--lib", "--bins"], kernel: false },
    Suite { name: "examples in the documentation", targets: &["--doc"], kernel: false },
    Suite { name: "integration tests, as root", targets: &["--test", "*"], kernel: true },
];

const UNTOUCHED: &str = "what an agent of this machine has is as it was";
const OTHER_KERNELS: &str = "other kernels, under emulation";

/// Runs all suites even if one fails. `cargo test` rather than a better runner, because every
/// machine has it and its last lines are the same everywhere.
pub(crate) fn test(args: &Args) -> Result<ExitCode> {
    setup(&[Need::Tests])?;
    let before = Installation::look()?;
    let mut outcomes = Vec::new();
    for suite in SUITES {
        eprintln!("\ntest: {}", suite.name);
        let mut command = suite.command(&args.harness)?;
        let start = Instant::now();
        let status =
            command.status().with_context(|| format!("cannot start {}", shown(&command)))?;
        outcomes.push((suite.name, status.success(), start.elapsed()));
    }
    let start = Instant::now();
    outcomes.push((UNTOUCHED, is_untouched(&before)?, start.elapsed()));
    match vm::unfit() {
        // Arguments are for the test programs of this machine.
        None if args.harness.is_empty() => {
            let start = Instant::now();
            outcomes.push((OTHER_KERNELS, vm::test()?, start.elapsed()));
        }
        None => {}
        Some(why) => eprintln!("\ntest: {OTHER_KERNELS}: skipped: {why}"),
    }
    eprintln!();
    for (name, passed, duration) in &outcomes {
        timing::record("test", name, *duration);
        let outcome = if *passed { "passed" } else { "FAILED" };
        eprintln!("test: {name}: {outcome} ({:.0} s)", duration.as_secs_f64());
    }
    let passed = outcomes.iter().all(|(_, passed, _)| *passed);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the tests have left alone what belongs to an agent of this machine.
fn is_untouched(before: &Installation) -> Result<bool> {
    eprintln!("\ntest: {UNTOUCHED}");
    if let Some(user) = before.user() {
        eprintln!("skipped: process {user} is at work there");
        return Ok(true);
    }
    let differences = before.differences(&Installation::look()?);
    for difference in &differences {
        eprintln!("{difference}");
    }
    Ok(differences.is_empty())
}

impl Suite {
    fn command(&self, harness: &[String]) -> Result<Command> {
        let mut command = cargo();
        command.args(["test", "--workspace", "--no-fail-fast"]).args(self.targets);
        vm::build_for_guests(&mut command)?;
        if self.kernel {
            run_as_root(&mut command)?;
        }
        command.arg("--").args(harness);
        if self.kernel {
            command.arg("--test-threads=1");
        }
        Ok(command)
    }
}

/// Makes cargo start the test programs as root. Only these run under sudo, so that what cargo builds
/// stays the user's own.
pub(crate) fn run_as_root(command: &mut Command) -> Result<()> {
    if !is_root()? {
        let sudo = as_root("-E")?;
        let runner = format!("target.'cfg(unix)'.runner=[{:?}, \"-E\"]", sudo.get_program());
        command.arg("--config").arg(runner);
    }
    Ok(())
}
