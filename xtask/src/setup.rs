//! `cargo xtask setup`: what a machine needs to build, test and check, and how it gets it.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, anyhow, bail};

use bpf_toolchain::{Compiler, Toolchain, find_linker, find_program};

use crate::{
    debian,
    packages::{LLVM_PREFIX, Need, PACKAGES, Package},
    progress::{say, step},
    servers, wheels,
    workspace::{cargo, shown, succeed},
};

const LINKER_VERSION: &str = "0.13.0";

const BY_HAND: &str = "the kernel side is built by one of two toolchains:
  - on Debian 12 or 13, with the security updates among its sources and root or sudo:
      packages, which `cargo xtask setup` installs
  - elsewhere, a rustup nightly with rust-src, and bpf-linker 0.13 or later:
      rustup toolchain install nightly --profile minimal --component rust-src
      cargo binstall bpf-linker     (or the archive of its release page, unpacked on PATH)
then run `cargo xtask setup` again";

/// Makes this machine able to build, and to do what else is asked for. Leaves alone what is there.
pub(crate) fn setup(also: &[Need]) -> Result<()> {
    let built = provide_toolchain()?;
    let toolchain = Toolchain::find().map_err(|missing| anyhow!("still {missing}\n{BY_HAND}"))?;
    let lints_apply = toolchain.compiler == Compiler::Debian;
    let wanted = |need| also.contains(&need) && (need != Need::Lints || lints_apply);
    let installed = install_packages(wanted)?;
    let unpacked = also.contains(&Need::Tests) && (servers::provide()? | wheels::provide()?);
    let outcome = if built || installed || unpacked { "done" } else { "nothing to do" };
    say(&format!("{outcome}; {toolchain} build the kernel side"));
    Ok(())
}

/// Returns whether anything had to be done.
fn provide_toolchain() -> Result<bool> {
    let Err(missing) = Toolchain::find() else {
        return Ok(false);
    };
    say(missing);
    let linker_missing = find_linker().is_none();
    let wanted = |need| need == Need::Compiler || (need == Need::Linker && linker_missing);
    if let Err(error) = install_packages(wanted) {
        say(&format!("{error:#}; looking for a rustup nightly instead"));
    }
    if Toolchain::find().is_err() {
        complete_toolchain()?;
    }
    Ok(true)
}

/// Adds what no package of the system brings.
fn complete_toolchain() -> Result<()> {
    if Compiler::find().is_none() {
        fetch_nightly()?;
    }
    if find_linker().is_some() {
        return Ok(());
    }
    let debian = Compiler::find() == Some(Compiler::Debian) && Path::new(LLVM_PREFIX).is_dir();
    if debian { build_linker() } else { fetch_linker() }
}

fn build_linker() -> Result<()> {
    let mut command = cargo();
    command
        .args(["install", "bpf-linker", "--version", LINKER_VERSION, "--locked"])
        .args(["--no-default-features", "--features", "llvm-22"])
        .env("LLVM_PREFIX", LLVM_PREFIX)
        .env("LLVM_SYS_221_PREFIX", LLVM_PREFIX);
    step(&shown(&command), "links the kernel side; two minutes or more");
    succeed(&mut command)
}

fn fetch_linker() -> Result<()> {
    find_program("cargo-binstall").with_context(|| format!("no cargo-binstall\n{BY_HAND}"))?;
    let mut command = cargo();
    command.args(["binstall", "--no-confirm", &format!("bpf-linker@{LINKER_VERSION}")]);
    step(&shown(&command), "links the kernel side");
    succeed(&mut command)
}

fn fetch_nightly() -> Result<()> {
    let rustup = find_program("rustup").with_context(|| format!("no rustup\n{BY_HAND}"))?;
    let mut command = Command::new(rustup);
    command.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
    command.args(["--component", "rust-src"]);
    step(&shown(&command), "compiles the kernel side");
    succeed(&mut command).context(BY_HAND)
}

/// Installs the packages that are wanted and missing; returns whether there were any.
fn install_packages(wanted: impl Fn(Need) -> bool) -> Result<bool> {
    let packages: Vec<_> = PACKAGES.iter().filter(|package| wanted(package.need)).collect();
    if !debian::is_here() {
        return do_without(&packages);
    }
    let missing = debian::missing(packages)?;
    if missing.is_empty() {
        return Ok(false);
    }
    for package in &missing {
        say(&format!("missing: {} ({})", package.name, package.why));
    }
    debian::install(&missing)?;
    Ok(true)
}

/// Other systems name their packages otherwise; all that tests need there is `ip`.
fn do_without(packages: &[&Package]) -> Result<bool> {
    let tests = packages.iter().any(|package| package.need == Need::Tests);
    if tests && find_program("ip").is_none() {
        bail!("the tests need `ip`: install iproute2 with this system's package manager");
    }
    Ok(false)
}
