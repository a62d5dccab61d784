//! `cargo xtask test`: every test, in the order in which failures are cheapest to understand.

use std::{
    panic,
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
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

const WITHOUT_KERNEL: &[Suite] = &[
    Suite { name: "unit tests", targets: &["--lib", "--bins"], kernel: false },
    Suite { name: "examples in the documentation", targets: &["--doc"], kernel: false },
];
const WITH_KERNEL: Suite =
    Suite { name: "integration tests, as root", targets: &["--test", "*"], kernel: true };

/// A suite's name, whether it passed, and how long it took.
type Ended = (&'static str, bool, Duration);

const UNTOUCHED: &str = "what an agent of this machine has is as it was";
const OTHER_KERNELS: &str = "other kernels, under emulation";

/// Runs all suites even if one fails. `cargo test` rather than a better runner, because every
/// machine has it and its last lines are the same everywhere.
pub(crate) fn test(args: &Args) -> Result<ExitCode> {
    setup(&[Need::Tests])?;
    let before = Installation::look()?;
    let mut outcomes = Vec::new();
    for suite in WITHOUT_KERNEL {
        outcomes.push(suite.run(&args.harness)?);
    }
    // Neither waits for the other: guests mostly compute, and the tests of this machine mostly wait.
    thread::scope(|scope| -> Result<()> {
        let guests = guests(&args.harness).map(|run| scope.spawn(run));
        outcomes.push(WITH_KERNEL.run(&args.harness)?);
        let start = Instant::now();
        outcomes.push((UNTOUCHED, is_untouched(&before)?, start.elapsed()));
        if let Some(guests) = guests {
            outcomes.push(guests.join().unwrap_or_else(|panic| panic::resume_unwind(panic))?);
        }
        Ok(())
    })?;
    eprintln!();
    for (name, passed, duration) in &outcomes {
        timing::record("test", name, *duration);
        let outcome = if *passed { "passed" } else { "FAILED" };
        eprintln!("test: {name}: {outcome} ({:.0} s)", duration.as_secs_f64());
    }
    let passed = outcomes.iter().all(|(_, passed, _)| *passed);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What runs the tests in guests, if this machine can and no argument picks tests of its own.
fn guests(harness: &[String]) -> Option<impl FnOnce() -> Result<Ended> + use<>> {
    if let Some(why) = vm::unfit() {
        eprintln!("\ntest: {OTHER_KERNELS}: skipped: {why}");
        return None;
    }
    harness.is_empty().then_some(|| {
        let start = Instant::now();
        Ok((OTHER_KERNELS, vm::test()?, start.elapsed()))
    })
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
    fn run(&self, harness: &[String]) -> Result<Ended> {
        eprintln!("\ntest: {}", self.name);
        let mut command = self.command(harness)?;
        let start = Instant::now();
        let status =
            command.status().with_context(|| format!("cannot start {}", shown(&command)))?;
        Ok((self.name, status.success(), start.elapsed()))
    }

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
