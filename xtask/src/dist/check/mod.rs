//! Whether what was built is what it should be: the same elsewhere, without faults that tools of the
//! distributions find, and fit to be installed, upgraded and removed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::build::build;
use super::release::{Release, afresh, output, say};
use crate::{
    debian,
    privilege::as_root,
    workspace::{root, succeed},
};

/// What goes before the life of every package, and before that of systems by their init.
const FRESH_SYSTEM: &str = include_str!("fresh-system.sh");
const SYSTEMD: &str = include_str!("systemd.sh");
const SYSVINIT: &str = include_str!("sysv.sh");
const ARCHIVE: &str = include_str!("archive.sh");
const DEB: &str = include_str!("deb.sh");
const RPM: &str = include_str!("rpm.sh");
const CONTAINER: &str = include_str!("container.sh");

/// What a fresh system has beside the essentials.
const WITH_SYSTEMD: &str = "systemd";
const WITH_SYSVINIT: &str = "sysvinit-core,sysv-rc,bsdutils,mount,procps,inetutils-syslogd";

pub(super) fn check(release: &Release, files: &[PathBuf]) -> Result<()> {
    let file = |ending: &str| {
        let found = files.iter().find(|file| file.to_string_lossy().ends_with(ending));
        found.with_context(|| format!("no {ending} was built"))
    };
    lint(release, file(".deb")?, file(".rpm")?)?;
    if release.target.is_of_this_machine() {
        install(release, file(".deb")?, file(".rpm")?, file(".tar.gz")?)?;
        run_image(release, file(&format!("-oci-{}.tar", release.arch().debian()))?)?;
    } else {
        say("neither installed nor run: it is for another machine");
    }
    build_elsewhere(release, file("SHA256SUMS")?)
}

fn lint(release: &Release, deb: &Path, rpm: &Path) -> Result<()> {
    say("lintian and rpmlint");
    output(Command::new("lintian").args(["--fail-on", "error", "--allow-root"]).arg(deb))?;
    let filters = release.source.join("packaging/rpm/ghostport.rpmlintrc.toml");
    output(Command::new("rpmlint").arg("--config").arg(filters).arg(rpm)).map(drop)
}

fn install(release: &Release, deb: &Path, rpm: &Path, archive: &Path) -> Result<()> {
    say("fresh systems, to install in");
    let system = fresh_system(release, "system", WITH_SYSTEMD)?;
    let other = fresh_system(release, "system-sysvinit", WITH_SYSVINIT)?;
    for (system, init, life, package) in [
        (&system, SYSTEMD, DEB, deb),
        (&system, SYSTEMD, RPM, rpm),
        (&system, SYSTEMD, ARCHIVE, archive),
        (&other, SYSVINIT, ARCHIVE, archive),
    ] {
        in_namespaces(&[FRESH_SYSTEM, init, life].concat(), &[system, package])
            .with_context(|| format!("the life of {}", package.display()))?;
    }
    Ok(())
}

fn fresh_system(release: &Release, name: &str, packages: &str) -> Result<PathBuf> {
    let system = release.workshop(name)?;
    let mut bootstrap = Command::new("mmdebstrap");
    bootstrap.args(["--variant=minbase", "--include", packages, &debian::suite()?]);
    output(bootstrap.arg(&system))?;
    Ok(system)
}

/// Runs the image as the host's agent.
fn run_image(release: &Release, image: &Path) -> Result<()> {
    say("the image, run by crun");
    let storage = release.workshop("storage")?;
    in_namespaces(CONTAINER, &[image, &storage]).context("the image")
}

/// Runs a script as root in network and mount namespaces of its own.
fn in_namespaces(script: &str, arguments: &[&Path]) -> Result<()> {
    let mut command = as_root("unshare")?;
    command.args(["--mount", "--net", "--propagation", "private", "sh", "-c", script, "sh"]);
    succeed(command.args(arguments))
}

/// Builds in a copy of the sources, and compares.
fn build_elsewhere(release: &Release, sums: &Path) -> Result<()> {
    say("building again, elsewhere");
    let elsewhere = release.folder.join("elsewhere");
    let source = elsewhere.join("source");
    afresh(&source)?;
    let mut copy = Command::new("sh");
    copy.args(["-c", "git ls-files -z | xargs -0 cp --parents -P --target-directory \"$0\""]);
    output(copy.arg(&source).current_dir(root()))?;
    let again = Release {
        target: release.target.clone(),
        version: release.version,
        revision: release.revision.clone(),
        epoch: release.epoch.clone(),
        maintainer: release.maintainer.clone(),
        source,
        folder: elsewhere.clone(),
    };
    let files = build(&again)?;
    let [first, second] =
        [sums, files.last().context("nothing was built")?.as_path()].map(fs::read_to_string);
    let (first, second) = (first?, second?);
    ensure!(first == second, "another build gave something else:\n{first}\n{second}");
    say("the same digests again");
    Ok(fs::remove_dir_all(elsewhere)?)
}
