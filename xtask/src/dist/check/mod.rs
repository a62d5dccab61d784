//! Whether what was built is what it should be: the same elsewhere, without faults that tools of the
//! distributions find, and fit to be installed, upgraded and removed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{Release, output, say};
use crate::workspace::{root, succeed};

const FRESH_SYSTEM: &str = include_str!("fresh-system.sh");

/// What the fresh system has beside the essentials.
const SYSTEM_PACKAGES: &str = "systemd";

pub(super) fn check(release: &Release, files: &[PathBuf]) -> Result<()> {
    let file = |ending: &str| {
        let found = files.iter().find(|file| file.to_string_lossy().ends_with(ending));
        found.with_context(|| format!("no {ending} was built"))
    };
    lint(release, file(".deb")?, file(".rpm")?)?;
    install(release, file(".deb")?)?;
    run_image(release, file("-oci-amd64.tar")?)?;
    build_elsewhere(release, file("SHA256SUMS")?)
}

fn lint(release: &Release, deb: &Path, rpm: &Path) -> Result<()> {
    say("lintian and rpmlint");
    output(Command::new("lintian").args(["--fail-on", "error", "--allow-root"]).arg(deb))?;
    let filters = release.source.join("packaging/rpm/ghostport.rpmlintrc.toml");
    output(Command::new("rpmlint").arg("--config").arg(filters).arg(rpm)).map(drop)
}

fn install(release: &Release, deb: &Path) -> Result<()> {
    say("a fresh system, to install in");
    let system = release.workshop("system")?;
    let mut bootstrap = Command::new("mmdebstrap");
    bootstrap.args(["--variant=minbase", "--include", SYSTEM_PACKAGES, &codename()?]);
    output(bootstrap.arg(&system))?;
    let mut life = Command::new("unshare");
    life.args(["--mount", "--net", "--propagation", "private", "sh", "-c", FRESH_SYSTEM, "sh"]);
    succeed(life.args([&system, deb])).context("the life of the package")
}

/// The suite of the building machine.
fn codename() -> Result<String> {
    let system = fs::read_to_string("/etc/os-release")?;
    let name = system.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.map(str::to_owned).context("/etc/os-release names no suite")
}

/// Loads the image as others would, and asks its program.
fn run_image(release: &Release, image: &Path) -> Result<()> {
    say("the image, run by crun");
    let storage = release.workshop("storage")?;
    let buildah = |arguments: &[&str]| {
        let mut command = Command::new("buildah");
        command.args(["--storage-driver", "vfs", "--root"]).arg(storage.join("root"));
        command.arg("--runroot").arg(storage.join("run")).args(arguments);
        output(&mut command)
    };
    let name = format!("oci-archive:{}", image.display());
    let container = buildah(&["from", "--quiet", &name])?;
    let container = container.trim();
    let said = buildah(&[
        "run",
        "--runtime",
        "crun",
        "--network",
        "host",
        container,
        "--",
        "/usr/bin/ghostport",
        "--version",
    ])?;
    ensure!(said.contains(release.version), "the image's program says {said:?}");
    buildah(&["rm", container]).map(drop)
}

/// Builds in a copy of the sources, and compares.
fn build_elsewhere(release: &Release, sums: &Path) -> Result<()> {
    say("building again, elsewhere");
    let elsewhere = release.folder.join("elsewhere");
    let source = elsewhere.join("source");
    super::afresh(&source)?;
    let mut copy = Command::new("sh");
    copy.args(["-c", "git ls-files -z | xargs -0 cp --parents --target-directory \"$0\""]);
    output(copy.arg(&source).current_dir(root()))?;
    let again = Release {
        version: release.version,
        revision: release.revision.clone(),
        epoch: release.epoch.clone(),
        source,
        folder: elsewhere.clone(),
    };
    let files = again.build()?;
    let [first, second] =
        [sums, files.last().context("nothing was built")?.as_path()].map(fs::read_to_string);
    let (first, second) = (first?, second?);
    ensure!(first == second, "another build gave something else:\n{first}\n{second}");
    say("the same digests again");
    Ok(fs::remove_dir_all(elsewhere)?)
}
