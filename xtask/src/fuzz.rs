//! `cargo xtask fuzz`: coverage-guided fuzzing of `fuzz/`, with libFuzzer and the stable toolchain.
//!
//! The compiler's own pass instruments the code; cargo-fuzz and a nightly are not needed. The flags
//! go to the target alone, because a build script that is instrumented does not link.

use std::{
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use bpf_toolchain::find_program;

use crate::{
    arch::Arch,
    check::Outcome,
    packages::Need,
    setup::setup,
    workspace::{cargo, root, shown, succeed, target_dir},
};

/// Targets that need nothing but the pure packages.
const PURE: &[&str] = &["packet", "identify", "captures", "ledger"];
/// Targets that link the agent, which takes the BPF toolchain and minutes to build.
const OF_THE_AGENT: &[&str] = &["configuration", "guard"];

/// Seconds for each target when fuzzing is one of the checks.
const BRIEF: u64 = 3;

/// As cargo-fuzz has them, without a sanitizer: no code that is fuzzed is unsafe.
const INSTRUMENTATION: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Targets; all if none is named.
    #[arg(value_parser = every_target().collect::<Vec<_>>())]
    targets: Vec<String>,
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Runs one input instead, such as the one that a failure has left.
    #[arg(long)]
    input: Option<PathBuf>,
    /// Adds what this run found to the corpus in the repository, as few files as cover it.
    #[arg(long)]
    merge: bool,
}

fn every_target() -> impl Iterator<Item = &'static str> {
    PURE.iter().chain(OF_THE_AGENT).copied()
}

/// Builds the targets and fuzzes each for the given time.
pub(crate) fn fuzz(args: &Args) -> Result<ExitCode> {
    setup(&[Need::Tests])?;
    let targets: Vec<&str> = match args.targets.as_slice() {
        [] => every_target().collect(),
        named => named.iter().map(String::as_str).collect(),
    };
    let programs = Programs::build(&targets)?;
    for target in targets {
        if let Some(input) = &args.input {
            succeed(programs.command(target).arg(input))?;
            continue;
        }
        println!("fuzz: {}", programs.run(target, args.seconds)?);
        if args.merge {
            programs.merge(target)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The pure targets for a few seconds each, as one of the checks.
pub(crate) fn briefly() -> Result<Outcome> {
    if find_program("c++").is_none() {
        return Ok(Outcome::Skipped(
            "libFuzzer needs a C++ compiler: cargo xtask setup".to_owned(),
        ));
    }
    let programs = Programs::build(PURE)?;
    let failed = PURE.iter().filter_map(|target| programs.run(target, BRIEF).err());
    Ok(Outcome::from_problems(failed.map(|error| format!("{error:#}"))))
}

/// Fuzz targets that were built.
struct Programs {
    folder: PathBuf,
    /// Where inputs are kept that runs have found.
    found: PathBuf,
}

impl Programs {
    fn build(targets: &[&str]) -> Result<Self> {
        let arch = Arch::of_this_machine().context("fuzzing takes x86-64 or arm64")?;
        let place = target_dir()?.join("fuzz");
        let mut command = cargo();
        command.args(["build", "--quiet", "--release", "--locked"]);
        command.args(["--manifest-path", "fuzz/Cargo.toml", "--target", arch.triple()]);
        command.arg("--target-dir").arg(&place);
        command.args(targets.iter().flat_map(|target| ["--bin", target]));
        if targets.iter().any(|target| OF_THE_AGENT.contains(target)) {
            command.args(["--features", "agent"]);
        }
        command.env_remove("RUSTFLAGS");
        command.env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTATION.join("\u{1f}"));
        succeed(&mut command)?;
        let folder = place.join(arch.triple()).join("release");
        Ok(Self { folder, found: place.join("found") })
    }

    fn command(&self, target: &str) -> Command {
        let mut command = Command::new(self.folder.join(target));
        command.current_dir(root());
        command
    }

    /// Fuzzes a target; says what was done, or how to repeat the failure.
    fn run(&self, target: &str, seconds: u64) -> Result<String> {
        let found = self.found.join(target);
        fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
        let failures = self.found.join("failures").join(target);
        fs::create_dir_all(&failures)?;
        let mut command = self.command(target);
        command.arg(format!("-max_total_time={seconds}"));
        command.arg(format!("-artifact_prefix={}/", failures.display()));
        command.args(["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"]);
        command.arg(&found).arg(corpus(target));
        let start = Instant::now();
        let output =
            command.output().with_context(|| format!("cannot start {}", shown(&command)))?;
        let text = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            let lines: Vec<&str> = text.lines().collect();
            let end = lines[lines.len().saturating_sub(40)..].join("\n");
            bail!("{target} failed\n{end}\nto repeat: cargo xtask fuzz {target} --input FILE");
        }
        let runs = statistic(&text, "stat::number_of_executed_units:");
        let new = statistic(&text, "stat::new_units_added:");
        let seconds = start.elapsed().as_secs_f32();
        Ok(format!("{target}: {runs} inputs in {seconds:.0} s, {new} of them new, no failure"))
    }

    fn merge(&self, target: &str) -> Result<()> {
        let mut command = self.command(target);
        succeed(command.arg("-merge=1").arg(corpus(target)).arg(self.found.join(target)))
    }
}

fn corpus(target: &str) -> PathBuf {
    root().join("fuzz/corpus").join(target)
}

/// A number of libFuzzer's last lines.
fn statistic<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(name)).map_or("?", str::trim)
}
