//! Debian's packages: which are there, and how the others get there.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};

use self::archive::Archive;
use bpf_toolchain::find_program;

use crate::{
    arch::Arch,
    packages::Package,
    privilege::as_root,
    progress::{say, step},
    workspace::{shown, succeed},
};

pub(crate) mod archive;

pub(crate) fn is_here() -> bool {
    ["dpkg-query", "apt-get"].iter().all(|program| find_program(program).is_some())
}

/// Asks dpkg's own records: apt would take a second to read its lists.
pub(crate) fn missing(packages: Vec<&'static Package>) -> Result<Vec<&'static Package>> {
    let query = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(packages.iter().map(|package| package.name))
        .output()
        .context("cannot start dpkg-query")?;
    let answer = String::from_utf8_lossy(&query.stdout);
    let is_installed = |package: &Package| {
        answer.lines().any(|line| line.split_once(' ') == Some((package.name, "installed")))
    };
    Ok(packages.into_iter().filter(|package| !is_installed(package)).collect())
}

/// The version of a package, if it is installed.
pub(crate) fn version(package: &str) -> Result<Option<String>> {
    let query = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Version}", package])
        .output()
        .context("cannot start dpkg-query")?;
    let version = String::from_utf8_lossy(&query.stdout).into_owned();
    Ok((query.status.success() && !version.is_empty()).then_some(version))
}

/// The suite that this machine is of: `bookworm`, for instance.
pub(crate) fn suite() -> Result<String> {
    let system = fs::read_to_string("/etc/os-release")?;
    let name = system.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.map(str::to_owned).context("/etc/os-release names no suite")
}

/// Installs packages of the system's own sources, or newer ones where those do not go with what is
/// installed.
pub(crate) fn install(packages: &[&Package]) -> Result<()> {
    update()?;
    let mut ours = Vec::new();
    let mut newer = Vec::new();
    let fit_together = obstacle(packages)?.is_none();
    for package in packages {
        match if fit_together { None } else { obstacle(&[*package])? } {
            None => ours.push(*package),
            Some(why) => newer.push((*package, why)),
        }
    }
    if !ours.is_empty() {
        let mut install = installation(&ours)?;
        step(&shown(&install), "packages of the system");
        succeed(&mut install)?;
    }
    for (package, why) in newer {
        install_newer(package)
            .with_context(|| format!("apt-get install {}: {why}", package.name))?;
    }
    Ok(())
}

/// By a list of sources of ours: this machine's stays as it is.
fn install_newer(package: &Package) -> Result<()> {
    let arch = Arch::of_this_machine().context("no packages for this architecture")?;
    let suite = suite()?;
    let archive = Archive::with_backports(arch, &suite)?;
    let mut install = installation(&[package])?;
    install.args(["--target-release", &archive::backports(&suite)]).args(archive.settings());
    step(&shown(&install), "the suite's own does not go with what is installed");
    succeed(&mut install)
}

/// What apt has against installing these and removing nothing, if anything.
fn obstacle(packages: &[&Package]) -> Result<Option<String>> {
    let mut simulation = installation(packages)?;
    let simulated = simulation.arg("--simulate").output().context("cannot start apt-get")?;
    let complaint = String::from_utf8_lossy(&simulated.stderr).trim().to_owned();
    Ok((!simulated.status.success()).then_some(complaint))
}

/// Removes nothing in exchange: some of these packages conflict with Debian's own rustup.
fn installation(packages: &[&Package]) -> Result<Command> {
    let mut install = apt_get()?;
    install
        .args(["install", "--yes", "--no-install-recommends", "--no-remove"])
        .args(packages.iter().map(|package| package.name));
    Ok(install)
}

/// Brings the lists of packages up to date; old ones are better than none.
pub(crate) fn update() -> Result<()> {
    let mut update = apt_get()?;
    update.arg("update");
    step(&shown(&update), "the lists may be old");
    if let Err(error) = succeed(&mut update) {
        say(&format!("{error:#}; going on with the lists there are"));
    }
    Ok(())
}

/// Never asks, and waits for another apt instead of failing.
fn apt_get() -> Result<Command> {
    let mut command = as_root("env")?;
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]);
    command.args(["-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"]);
    Ok(command)
}
