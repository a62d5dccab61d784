//! The package for Debian, Ubuntu and their kind. dpkg's own tool packs it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{
    archive::tar,
    release::{HOME, Release, output, say},
    stage,
};

/// What dpkg does at its turns.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

pub(super) fn build(release: &Release, files: &Path) -> Result<PathBuf> {
    say("package for Debian");
    let root = release.workshop("deb")?;
    take_over(release, files, &root)?;
    let sources = release.source.join("packaging/debian");
    let documents = root.join(stage::DOCUMENTATION);
    stage::copy(&sources.join("copyright"), &documents.join("copyright"), 0o644)?;
    let overrides = root.join("usr/share/lintian/overrides/ghostport");
    stage::copy(&sources.join("lintian-overrides"), &overrides, 0o644)?;
    write_changelogs(release, &documents)?;
    write_control(release, &sources, &root)?;
    let name = format!("ghostport_{}_{}.deb", version(release), release.arch().debian());
    let path = release.out().join(name);
    let mut command = Command::new("dpkg-deb");
    command
        .args(["--root-owner-group", "-Zxz", "--build"])
        .args([&root, &path])
        .env("SOURCE_DATE_EPOCH", &release.epoch);
    output(&mut command)?;
    Ok(path)
}

/// Copies a tree, with the modes that it has in every package.
fn take_over(release: &Release, files: &Path, root: &Path) -> Result<()> {
    let archive = root.with_extension("tar");
    output(tar(release, files, &archive).arg("."))?;
    output(Command::new("tar").arg("--extract").arg("--file").arg(&archive).arg("-C").arg(root))?;
    Ok(fs::remove_file(archive)?)
}

/// The project's own, and the one of the package, in Debian's format.
fn write_changelogs(release: &Release, documents: &Path) -> Result<()> {
    let time = format!("@{}", release.epoch);
    let date = output(Command::new("date").args(["--rfc-email", "--utc", "--date", &time]))?;
    let entry = format!(
        "ghostport ({}) unstable; urgency=medium\n\n  * Built from {}: changelog.gz says what is \
         new.\n\n -- {}  {}\n",
        version(release),
        release.revision,
        release.maintainer,
        date.trim()
    );
    let [project, package] = ["changelog", "changelog.Debian"].map(|name| documents.join(name));
    stage::copy(&release.source.join("CHANGELOG.md"), &project, 0o644)?;
    stage::write(&package, entry.as_bytes())?;
    [project, package].iter().try_for_each(|file| stage::compress(file))
}

/// With the number of the packaging.
fn version(release: &Release) -> String {
    format!("{}-1", release.version)
}

fn write_control(release: &Release, sources: &Path, root: &Path) -> Result<()> {
    let folder = root.join("DEBIAN");
    let sums = sums(root)?;
    let size = output(Command::new("du").args(["--summarize", "--apparent-size", "-k"]).arg(root))?;
    let size = size.split_whitespace().next().context("du says nothing")?;
    let template = fs::read_to_string(sources.join("control"))?;
    let control = template
        .replace("@MAINTAINER@", &release.maintainer)
        .replace("@HOMEPAGE@", &homepage())
        .replace("@VERSION@", &version(release))
        .replace("@ARCHITECTURE@", release.arch().debian())
        .replace("@SIZE@", size);
    stage::write(&folder.join("control"), control.as_bytes())?;
    stage::write(&folder.join("md5sums"), sums.as_bytes())?;
    stage::write(
        &folder.join("conffiles"),
        b"/etc/ghostport/ghostport.yaml\n/etc/logrotate.d/ghostport\n",
    )?;
    for script in SCRIPTS {
        stage::copy(&sources.join(script), &folder.join(script), 0o755)?;
    }
    Ok(fs::set_permissions(&folder, Permissions::from_mode(0o755))?)
}

/// The field of that name, if there is anything to put into it.
fn homepage() -> String {
    if HOME.is_empty() { String::new() } else { format!("Homepage: {HOME}\n") }
}

/// By which dpkg knows files that were changed.
fn sums(root: &Path) -> Result<String> {
    let mut find = Command::new("sh");
    find.args(["-c", "find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum"]);
    output(find.current_dir(root))
}
