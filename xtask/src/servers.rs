//! Programs that tests and checks run: Prometheus, Alertmanager, VictoriaMetrics, Kannel and rsyslog.
//! They are unpacked into the target folder, because Debian's packages start a daemon, now and with
//! every boot, where they are installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use bpf_toolchain::find_program;

use crate::{
    debian,
    progress::{say, step},
    workspace::{shown, succeed, target_dir},
};

/// Packages of Debian, and the programs in them that are called. Alertmanager itself has another name
/// upstream than in Debian, so amtool stands for it.
const PACKAGES: &[(&str, &str)] = &[
    ("prometheus", "promtool"),
    ("prometheus-alertmanager", "amtool"),
    ("victoria-metrics", "vmalert"),
    ("kannel", "bearerbox"),
    ("kannel-extras", "fakewap"),
    ("rsyslog-openssl", "rsyslogd"),
];

/// Where their programs are, below `/` or the folder into which they are unpacked.
const PLACES: [&str; 3] = ["usr/bin", "usr/sbin", "usr/lib/kannel/test"];

/// Where packages are unpacked; the tests in `monitor/tests` know this place too.
fn folder() -> Result<PathBuf> {
    Ok(target_dir()?.join("programs"))
}

/// Finds one of these programs: this system's own, or what was unpacked.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    find_program(name).or_else(|| {
        let roots = [folder().ok()?, PathBuf::from("/")];
        let places = roots.iter().flat_map(|root| PLACES.map(|place| root.join(place)));
        places.map(|place| place.join(name)).find(|program| program.is_file())
    })
}

/// Gets what is missing; returns whether anything was.
pub(crate) fn provide() -> Result<bool> {
    let missing: Vec<_> = PACKAGES.iter().filter(|(_, program)| find(program).is_none()).collect();
    if missing.is_empty() {
        return Ok(false);
    }
    let names: Vec<_> = missing.iter().map(|(package, _)| *package).collect();
    if !debian::is_here() {
        let programs: Vec<_> = missing.iter().map(|(_, program)| *program).collect();
        bail!("the tests need {} on PATH, with {}", names.join(", "), programs.join(", "));
    }
    say(&format!("missing: {} (the tests run them)", names.join(", ")));
    debian::update()?;
    let folder = folder()?;
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for package in with_libraries(&names)? {
        unpack(&package, &folder)?;
    }
    Ok(true)
}

/// These packages, and those that an installation of them would bring with them: what their programs
/// are linked with.
fn with_libraries(names: &[&str]) -> Result<Vec<String>> {
    let mut simulation = Command::new("apt-get");
    simulation.args(["-q", "--simulate", "--no-install-recommends", "install"]).args(names);
    let output = simulation.output().context("cannot start apt-get")?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}", shown(&simulation), reason.trim_end());
    }
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let packages = lines.lines().filter_map(|line| line.strip_prefix("Inst "));
    Ok(packages.filter_map(|rest| rest.split(' ').next()).map(str::to_owned).collect())
}

fn unpack(package: &str, folder: &Path) -> Result<()> {
    let mut download = Command::new("apt-get");
    download.args(["-q", "download", package]).current_dir(folder);
    step(&shown(&download), "unpacked, not installed: no daemon is to start");
    succeed(&mut download)?;
    let archive = archive_of(package, folder)?;
    let mut extract = Command::new("dpkg-deb");
    extract.arg("--extract").args([&archive, folder]);
    succeed(&mut extract)?;
    fs::remove_file(archive).context("cannot remove the archive")
}

/// apt puts the version into the name.
fn archive_of(package: &str, folder: &Path) -> Result<PathBuf> {
    let prefix = format!("{package}_");
    fs::read_dir(folder)?
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path())
        .with_context(|| format!("apt-get has not downloaded {package}"))
}
