//! `cargo xtask check`: what must hold before a change is committed, apart from the tests.

use std::{
    env::consts,
    panic,
    path::Path,
    process::{Command, ExitCode},
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};

use bpf_toolchain::{Compiler, Toolchain, find_program};

pub(crate) use self::outcome::Outcome;
use crate::{
    fuzz, miri, timing, vm,
    workspace::{cargo, root, target_dir},
};

mod addresses;
mod dashboards;
mod documents;
mod imports;
mod invariants;
mod kubernetes;
pub(crate) mod markdown;
mod outcome;
mod paths;
mod prose;
mod reference;
mod rust;
mod source;
mod tree;

/// Manifests of the workspaces: the agent's, the kernel side's and the fuzz targets'.
const WORKSPACES: &[&str] = &["Cargo.toml", "monitor-ebpf/Cargo.toml", "fuzz/Cargo.toml"];

/// One check. Those that build elsewhere run beside the others: cargo locks a target folder, and a
/// long compilation of one crate leaves a CPU idle.
struct Check {
    name: &'static str,
    run: fn() -> Result<Outcome>,
    builds: Builds,
}

/// Where a check builds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Builds {
    /// In the folder that the tests use, or not at all.
    Shared,
    /// In a folder of its own.
    Apart,
}

const fn shared(name: &'static str, run: fn() -> Result<Outcome>) -> Check {
    Check { name, run, builds: Builds::Shared }
}

const fn apart(name: &'static str, run: fn() -> Result<Outcome>) -> Check {
    Check { name, run, builds: Builds::Apart }
}

const CHECKS: &[Check] = &[
    shared("format", format),
    shared("lock files", lock_files),
    shared("lints", lints),
    shared("documentation", rust::documentation),
    shared("minimum Rust version", rust::minimum_version),
    apart("lints of the kernel side", kernel_side_lints),
    shared("licences, bans and sources", dependencies),
    shared("invariants of the architecture", invariants::hold),
    shared("imports and circles", imports::hold),
    shared("documents and their links", documents::hold),
    shared("prose", prose::hold),
    shared("addresses of the project", addresses::hold),
    shared("generated reference", reference::hold),
    shared("dashboards, rules and runbook", dashboards::hold),
    shared("expressions of dashboards and rules", dashboards::parse),
    shared("Kubernetes: chart and manifests", kubernetes::hold),
    apart("fuzzing, briefly", fuzz::briefly),
    apart("undefined behaviour", miri::check),
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Words of the names of checks: only these run.
    names: Vec<String>,
}

impl Args {
    fn chosen(&self) -> Result<Vec<&'static Check>> {
        for word in &self.names {
            let known = CHECKS.iter().any(|check| check.name.contains(word.as_str()));
            ensure!(known, "no check is named {word}");
        }
        let is_chosen = |check: &&Check| {
            self.names.is_empty()
                || self.names.iter().any(|word| check.name.contains(word.as_str()))
        };
        Ok(CHECKS.iter().filter(is_chosen).collect())
    }
}

/// How many checks ended in each way.
#[derive(Default)]
struct Summary {
    passed: usize,
    skipped: usize,
    failed: usize,
}

/// Runs the checks, one line of outcome each; details follow the line of a check that failed.
pub(crate) fn check(args: &Args) -> Result<ExitCode> {
    let (beside, inline): (Vec<_>, Vec<_>) =
        args.chosen()?.into_iter().partition(|check| check.builds == Builds::Apart);
    let summary = Mutex::new(Summary::default());
    thread::scope(|scope| {
        let beside = scope.spawn(|| run_each(&beside, &summary));
        run_each(&inline, &summary)?;
        beside.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
    })?;
    let Summary { passed, skipped, failed } =
        summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("check: {passed} passed, {skipped} skipped, {failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs checks one after the other.
fn run_each(checks: &[&Check], summary: &Mutex<Summary>) -> Result<()> {
    for Check { name, run, .. } in checks {
        eprintln!("check: {name} …");
        let start = Instant::now();
        let outcome = run().with_context(|| format!("check {name}"))?;
        let duration = start.elapsed();
        timing::record("check", name, duration);
        let seconds = duration.as_secs_f32();
        let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Outcome::Passed => {
                summary.passed += 1;
                println!("check: {name}: ok ({seconds:.1} s)");
            }
            Outcome::Skipped(why) => {
                summary.skipped += 1;
                println!("check: {name}: skipped: {why}");
            }
            Outcome::Failed(details) => {
                summary.failed += 1;
                println!("check: {name}: FAILED ({seconds:.1} s)\n{}\n", details.trim_end());
            }
        }
    }
    Ok(())
}

fn format() -> Result<Outcome> {
    of_each_workspace(|manifest| {
        let mut command = cargo();
        command.args(["fmt", "--manifest-path", manifest]);
        // The others are one crate each, and links to those of the first.
        if manifest == WORKSPACES[0] {
            command.arg("--all");
        }
        command.args(["--", "--check", "--color", "never"]);
        command
    })
}

/// Each lock file lists what its manifests ask for. The fuzz targets' has to follow the agent's.
fn lock_files() -> Result<Outcome> {
    let mut stale = Vec::new();
    for manifest in WORKSPACES {
        let mut command = cargo();
        command.args([
            "metadata",
            "--locked",
            "--format-version",
            "1",
            "--manifest-path",
            manifest,
        ]);
        if !command.output().context("cannot start cargo")?.status.success() {
            let update = format!("cargo update --workspace --manifest-path {manifest}");
            stale.push(format!("the lock file beside {manifest} is stale: {update}"));
        }
    }
    Ok(Outcome::from_problems(stale))
}

fn lints() -> Result<Outcome> {
    let mut command = cargo();
    command.args(["clippy", "--workspace", "--all-targets"]);
    vm::build_for_guests(&mut command)?;
    Outcome::of(command.args(["--", "-D", "warnings"]))
}

/// A second pass, because the kernel side's target and panic handler fit no other crate.
fn kernel_side_lints() -> Result<Outcome> {
    let toolchain = match Toolchain::find() {
        Ok(toolchain) => toolchain,
        Err(missing) => return Ok(Outcome::Skipped(format!("{missing}: cargo xtask setup"))),
    };
    if !has_clippy(&toolchain) {
        return Ok(Outcome::Skipped(format!("{toolchain} come without clippy: cargo xtask setup")));
    }
    let mut command = toolchain.cargo("clippy", consts::ARCH, cfg!(target_endian = "big"));
    command.arg("--target-dir").arg(target_dir()?.join("bpf"));
    Outcome::of(command.args(["--", "-D", "warnings"]).current_dir(root().join("monitor-ebpf")))
}

fn has_clippy(toolchain: &Toolchain) -> bool {
    match toolchain.compiler {
        Compiler::Debian => Path::new("/usr/bin/clippy-driver").is_file(),
        Compiler::Nightly => find_program("rustup").is_some_and(|rustup| {
            let mut question = Command::new(rustup);
            question.args(["run", "nightly", "cargo-clippy", "--version"]);
            question.output().is_ok_and(|answer| answer.status.success())
        }),
    }
}

/// Advisories are left to `cargo deny check advisories`: they need the network, and change without
/// a change of ours.
fn dependencies() -> Result<Outcome> {
    if find_program("cargo-deny").is_none() {
        return Ok(Outcome::Skipped("cargo-deny is not installed".to_owned()));
    }
    of_each_workspace(|manifest| {
        let mut command = cargo();
        command.args(["deny", "--manifest-path", manifest, "--config", "deny.toml"]);
        command.args(["check", "bans", "licenses", "sources"]);
        command
    })
}

/// Runs one command for each workspace; the first that fails is the outcome.
fn of_each_workspace(command: impl Fn(&'static str) -> Command) -> Result<Outcome> {
    for manifest in WORKSPACES {
        match Outcome::of(&mut command(manifest))? {
            Outcome::Passed => {}
            other => return Ok(other),
        }
    }
    Ok(Outcome::Passed)
}
