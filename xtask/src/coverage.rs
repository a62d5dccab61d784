//! `cargo xtask coverage`: which lines the tests of a package execute.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, ensure};
use bpf_toolchain::find_program;
use serde_json::Value;

use crate::{
    packages::LLVM_PREFIX,
    workspace::{PURE_PACKAGES, cargo, root, shown, succeed, target_dir},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Packages whose tests run; the pure ones if none is named. Tests of `monitor` load programs
    /// into the kernel: run those as root.
    packages: Vec<String>,
}

/// Runs the tests with instrumentation and prints lines by package.
pub(crate) fn coverage(args: &Args) -> Result<ExitCode> {
    let profdata = tool("llvm-profdata")?;
    let cov = tool("llvm-cov")?;
    let packages: Vec<&str> = match args.packages.as_slice() {
        [] => PURE_PACKAGES.to_vec(),
        named => named.iter().map(String::as_str).collect(),
    };
    let place = target_dir()?.join("coverage");
    let profiles = place.join("profiles");
    if profiles.exists() {
        fs::remove_dir_all(&profiles).context("cannot remove older profiles")?;
    }
    let test = || {
        let mut command = cargo();
        command.args(["test", "--tests", "--target-dir"]).arg(&place);
        command.args(packages.iter().flat_map(|package| ["--package", package]));
        command.env("RUSTFLAGS", "-Cinstrument-coverage");
        command.env("LLVM_PROFILE_FILE", profiles.join("%p-%m.profraw"));
        command
    };
    let programs = programs(test().args(["--no-run", "--message-format=json"]))?;
    succeed(&mut test())?;
    let merged = place.join("merged.profdata");
    let mut merge = Command::new(profdata);
    merge.args(["merge", "--sparse", "--output"]).arg(&merged);
    succeed(merge.args(files(&profiles)?))?;
    let mut export = Command::new(cov);
    export.args(["export", "--summary-only", "--instr-profile"]).arg(&merged);
    for program in &programs {
        export.arg("--object").arg(program);
    }
    print(&summary(&mut export)?);
    Ok(ExitCode::SUCCESS)
}

/// A tool of LLVM, in the version of the compiler or a later one.
fn tool(name: &str) -> Result<PathBuf> {
    let debian = Path::new(LLVM_PREFIX).join("bin").join(name);
    if debian.is_file() {
        return Ok(debian);
    }
    find_program(name).with_context(|| format!("no {name}: cargo xtask setup installs llvm-22"))
}

/// The test programs that cargo has built.
fn programs(build: &mut Command) -> Result<Vec<PathBuf>> {
    let output = build.stderr(std::process::Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{} failed", shown(build));
    let messages = String::from_utf8(output.stdout)?;
    let programs = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    });
    Ok(programs.collect())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).context("the tests have left no profile")?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Lines that were executed and lines that could be, by package.
fn summary(export: &mut Command) -> Result<BTreeMap<String, (u64, u64)>> {
    let output = export.output().with_context(|| format!("cannot start {}", shown(export)))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).context("llvm-cov's JSON")?;
    let files = report.pointer("/data/0/files").and_then(Value::as_array);
    let mut packages: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for file in files.context("llvm-cov names no files")? {
        let name = file.get("filename").and_then(Value::as_str).unwrap_or_default();
        let Ok(name) = Path::new(name).strip_prefix(root()) else { continue };
        let mut parts = name.iter();
        let (Some(package), Some(folder)) = (parts.next(), parts.next()) else { continue };
        if folder != OsStr::new("src") || name.iter().any(|part| part == "tests") {
            continue;
        }
        let lines =
            |key: &str| file.pointer(&format!("/summary/lines/{key}")).and_then(Value::as_u64);
        let sum = packages.entry(package.to_string_lossy().into_owned()).or_default();
        sum.0 += lines("covered").unwrap_or_default();
        sum.1 += lines("count").unwrap_or_default();
    }
    Ok(packages)
}

fn print(packages: &BTreeMap<String, (u64, u64)>) {
    println!("{:<20} {:>8} {:>8} {:>8}", "package", "lines", "covered", "share");
    for (package, (covered, count)) in packages {
        let share = 100.0 * *covered as f64 / (*count).max(1) as f64;
        println!("{package:<20} {count:>8} {covered:>8} {share:>6.1} %");
    }
}
