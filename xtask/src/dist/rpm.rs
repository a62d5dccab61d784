//! The package for Fedora, Red Hat, SUSE and their kind. rpm's own tool packs it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::release::{HOME, Release, output, say};

/// What makes the same package of the same files.
const REPRODUCIBLE: [(&str, &str); 4] = [
    ("_buildhost", "localhost"),
    ("clamp_mtime_to_source_date_epoch", "1"),
    ("use_source_date_epoch_as_buildtime", "1"),
    // Another number of threads makes another file.
    ("_binary_payload", "w7.xzdio"),
];

pub(super) fn build(release: &Release, files: &Path) -> Result<PathBuf> {
    say("package for Red Hat's kind");
    let top = release.workshop("rpm")?;
    let spec = release.source.join("packaging/rpm/ghostport.spec");
    let mut command = Command::new("rpmbuild");
    command.args(["-bb", "--quiet", "--target", release.arch().red_hat()]);
    let mut define = |name: &str, value: &str| {
        command.args(["--define", &format!("{name} {value}")]);
    };
    define("_topdir", &top.to_string_lossy());
    define("staged", &files.to_string_lossy());
    define("release_version", release.version);
    define("release_date", date(release)?.trim());
    define("release_maintainer", &release.maintainer);
    if !HOME.is_empty() {
        define("release_home", HOME);
    }
    REPRODUCIBLE.iter().for_each(|(name, value)| define(name, value));
    command.arg(spec).env("SOURCE_DATE_EPOCH", &release.epoch);
    output(&mut command)?;
    let built = fs::read_dir(top.join("RPMS").join(release.arch().red_hat()))?.flatten().next();
    let built = built.context("rpmbuild has built nothing")?.path();
    let path = release.out().join(built.file_name().unwrap_or_default());
    fs::rename(&built, &path)?;
    Ok(path)
}

/// The day of the release, as rpm's changelogs have it.
fn date(release: &Release) -> Result<String> {
    let time = format!("@{}", release.epoch);
    let mut date = Command::new("date");
    output(date.env("LC_ALL", "C").args(["--utc", "--date", &time, "+%a %b %d %Y"]))
}
