//! `cargo xtask`: the one vocabulary of commands for people and for CI.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use packages::Need;

mod arch;
mod attack;
mod bench;
mod builds;
mod chart;
mod check;
mod coverage;
mod debian;
mod dist;
mod docs;
mod fuzz;
mod miri;
mod packages;
mod privilege;
mod progress;
mod run;
mod servers;
mod setup;
mod target;
mod test;
mod timing;
mod vm;
mod wheels;
mod workspace;

/// Sets up, runs, tests and checks ghostport.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Makes this machine able to build and test; does nothing where it already is.
    Setup,
    /// Builds the release and becomes `ghostport run`, as root.
    Run(run::Args),
    /// Runs every test; those that need the kernel run as root in private namespaces.
    Test(test::Args),
    /// Attacks an agent, built or installed, as root in private namespaces; fails if an attack succeeds.
    Attack(attack::Args),
    /// Runs the integration tests on other kernels, booted under emulation.
    Vm(vm::Args),
    /// Checks format, lints, licences, documents and the invariants of the architecture.
    Check(check::Args),
    /// Measures what the packet path, the agent and identification cost; where it takes the kernel,
    /// as root in private namespaces.
    Bench(bench::Args),
    /// Builds what is handed out: a static binary, an archive, deb, rpm and a container image.
    Dist(dist::Args),
    /// Writes docs/reference from the code that it describes.
    Docs,
    /// Fuzzes parsers, identification and ledger, guided by coverage.
    Fuzz(fuzz::Args),
    /// Runs the tests of the pure packages under Miri.
    Miri(miri::Args),
    /// Prints which share of the lines the tests execute, by package.
    Coverage(coverage::Args),
}

fn main() -> ExitCode {
    match perform(Cli::parse().task) {
        Ok(outcome) => outcome,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<ExitCode> {
    match task {
        Task::Setup => setup::setup(&[Need::Tests, Need::Lints]).map(|()| ExitCode::SUCCESS),
        Task::Run(args) => run::run(&args),
        Task::Test(args) => test::test(&args),
        Task::Attack(args) => attack::attack(&args),
        Task::Vm(args) => vm::vm(&args),
        Task::Check(args) => check::check(&args),
        Task::Bench(args) => bench::bench(&args),
        Task::Dist(args) => dist::dist(&args),
        Task::Docs => docs::docs(),
        Task::Fuzz(args) => fuzz::fuzz(&args),
        Task::Miri(args) => miri::miri(&args),
        Task::Coverage(args) => coverage::coverage(&args),
    }
}
