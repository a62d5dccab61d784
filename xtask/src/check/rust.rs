//! Checks of the documentation and of the Rust version that the manifest promises.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use bpf_toolchain::find_program;
use serde_json::Value;

use super::outcome::Outcome;
use crate::{
    vm,
    workspace::{cargo, shown, target_dir},
};

/// The promised version.
const OURS: &str = env!("CARGO_PKG_RUST_VERSION");

/// rustdoc has no complaint, about links for instance.
pub(super) fn documentation() -> Result<Outcome> {
    let mut command = cargo();
    command.args(["doc", "--workspace", "--no-deps", "--document-private-items"]);
    vm::build_for_guests(&mut command)?;
    Outcome::of(command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// No dependency needs a later Rust than the manifest promises, and that version builds everything.
pub(super) fn minimum_version() -> Result<Outcome> {
    let late = later_dependencies()?;
    if !late.is_empty() {
        return Ok(Outcome::from_problems(late));
    }
    // `lints` has built everything with it.
    if minor(&version(&mut Command::new("rustc"))?) == minor(OURS) {
        return Ok(Outcome::Passed);
    }
    let Some(rustup) = find_program("rustup") else { return Ok(skipped()) };
    let mut installed = Command::new(&rustup);
    if !installed.args(["run", OURS, "cargo", "--version"]).output()?.status.success() {
        return Ok(skipped());
    }
    let mut command = Command::new(rustup);
    command.args(["run", OURS, "cargo", "check", "--workspace", "--all-targets", "--locked"]);
    command.arg("--target-dir").arg(target_dir()?.join("minimum"));
    Outcome::of(command.env_remove("CARGO").env_remove("RUSTC").env_remove("RUSTUP_TOOLCHAIN"))
}

fn skipped() -> Outcome {
    Outcome::Skipped(format!(
        "no dependency needs more; Rust {OURS} is not installed to build with"
    ))
}

fn version(rustc: &mut Command) -> Result<String> {
    let output = rustc.arg("--version").output().context("cannot start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split(' ').nth(1).map(str::to_owned).context("rustc has no version")
}

/// Major and minor number.
fn minor(version: &str) -> (u32, u32) {
    let mut numbers = version.split(['.', '-']).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn later_dependencies() -> Result<Vec<String>> {
    let mut command = cargo();
    command.args(["metadata", "--format-version", "1", "--locked"]);
    let output = command.output().with_context(|| format!("cannot start {}", shown(&command)))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo's metadata")?;
    let packages = metadata.get("packages").and_then(Value::as_array).context("no packages")?;
    let late = packages.iter().filter_map(|package| {
        let needs = package.get("rust_version")?.as_str()?;
        let name = package.get("name")?.as_str()?;
        (minor(needs) > minor(OURS))
            .then(|| format!("{name} needs Rust {needs}, we promise {OURS}"))
    });
    Ok(late.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_versions_by_number() {
        assert_eq!(minor("1.95.0"), minor("1.95"));
        assert!(minor("1.100") > minor("1.95"));
        assert_eq!(minor("1.97.0-nightly"), (1, 97));
    }
}
