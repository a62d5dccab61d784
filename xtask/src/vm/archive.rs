//! Debian's archive, beside the system's own package lists: what it has, and fetching from it.
//!
//! The addresses of the mirrors are those of this machine's apt. Its sources stay untouched: apt
//! works on folders of ours here, with a list of sources of ours.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::say;
use crate::workspace::shown;

/// Suites that have the kernels, and the label of the archive that they are in.
const SUITES: &[(&str, &str)] = &[
    ("bullseye-security", "Debian-Security"),
    ("bookworm-security", "Debian-Security"),
    ("trixie-security", "Debian-Security"),
    ("trixie-backports", "Debian"),
    ("sid", "Debian"),
];

/// Newer kernels come every few weeks.
const LISTS_LAST: Duration = Duration::from_secs(24 * 3600);

/// Nothing but lists of packages: no translations, no icons, no contents.
const SETTINGS: &[&str] = &[
    "APT::Architecture=amd64",
    "APT::Architectures=amd64",
    "APT::Sandbox::User=root",
    "Acquire::Languages=none",
    "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
    "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false",
    "Acquire::Retries=3",
    "Acquire::http::Timeout=30",
    "Acquire::https::Timeout=30",
];

/// A private view of the archive.
pub(super) struct Archive {
    folder: PathBuf,
}

impl Archive {
    /// Opens the view in a folder of its own, and looks for news if the last look is long ago. Old
    /// news are better than none.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let archive = Self { folder: folder.to_path_buf() };
        if archive.is_fresh() {
            return Ok(archive);
        }
        for folder in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(archive.folder.join(folder))?;
        }
        fs::write(archive.folder.join("sources.list"), sources()?)?;
        say("looking for the newest kernels");
        match output(archive.apt("apt-get").args(["-q", "update"])) {
            Ok(_) => fs::write(archive.stamp(), "")?,
            Err(error) if archive.stamp().exists() => {
                say(&format!("{error:#}; going on with older lists"));
            }
            Err(error) => return Err(error),
        }
        Ok(archive)
    }

    /// Every package whose name begins like this, and its version.
    pub(super) fn packages(&self, prefixes: &[&str]) -> Result<BTreeMap<String, String>> {
        let mut targets = self.apt("apt-get");
        targets.args(["indextargets", "--format", "$(FILENAME)", "Created-By: Packages"]);
        let mut packages = BTreeMap::new();
        for file in output(&mut targets)?.lines() {
            let mut reader = Command::new("/usr/lib/apt/apt-helper");
            let list = output(reader.args(["cat-file", file]))?;
            packages.extend(packages_in(&list, prefixes));
        }
        Ok(packages)
    }

    /// Fetches a package into a folder. apt checks what it has fetched against the signed lists.
    pub(super) fn fetch(&self, packages: &[String], into: &Path) -> Result<()> {
        let mut command = self.apt("apt-get");
        command.args(["-q", "download"]).args(packages).current_dir(into);
        output(&mut command).map(drop)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let folder = self.folder.display();
        let own = [
            format!("Dir::Etc::SourceList={folder}/sources.list"),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            "Dir::Etc::Preferences=/dev/null".to_owned(),
            "Dir::Etc::PreferencesParts=/dev/null".to_owned(),
            format!("Dir::State::Lists={folder}/lists"),
            format!("Dir::Cache={folder}/cache"),
        ];
        for setting in SETTINGS.iter().map(|setting| (*setting).to_owned()).chain(own) {
            command.args(["-o", &setting]);
        }
        command
    }

    fn stamp(&self) -> PathBuf {
        self.folder.join("looked")
    }

    fn is_fresh(&self) -> bool {
        let looked = fs::metadata(self.stamp()).and_then(|stamp| stamp.modified());
        looked.is_ok_and(|looked| {
            SystemTime::now().duration_since(looked).is_ok_and(|age| age < LISTS_LAST)
        })
    }
}

/// A list of sources for the suites, with the addresses that this machine's apt has.
fn sources() -> Result<String> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"]);
    let known = output(&mut targets)?;
    let address = |label: &str| {
        let of_label = |line: &str| {
            let (found, address) = line.split_once(' ')?;
            (found == label).then(|| address.to_owned())
        };
        known.lines().find_map(of_label).with_context(|| {
            format!("this machine's apt has no source of {label}: the kernels come from there")
        })
    };
    let lines = SUITES.iter().map(|(suite, label)| {
        let address = address(label)?;
        Ok(format!("deb [arch=amd64{}] {address} {suite} main\n", signed_by()))
    });
    lines.collect()
}

/// Where Debian's keys are; apt's own folders of keys otherwise.
fn signed_by() -> String {
    let keys = Path::new("/usr/share/keyrings/debian-archive-keyring.gpg");
    if keys.is_file() { format!(" signed-by={}", keys.display()) } else { String::new() }
}

/// Names and versions in a list of packages.
fn packages_in(list: &str, prefixes: &[&str]) -> Vec<(String, String)> {
    let mut packages = Vec::new();
    let mut name = None;
    for line in list.lines() {
        if let Some(found) = line.strip_prefix("Package: ") {
            name = prefixes.iter().any(|prefix| found.starts_with(prefix)).then_some(found);
        } else if let (Some(version), Some(of)) = (line.strip_prefix("Version: "), name) {
            packages.push((of.to_owned(), version.to_owned()));
            name = None;
        }
    }
    packages
}

/// What a command says, which must succeed.
fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        bail!("{} failed: {}", shown(command), String::from_utf8_lossy(&output.stderr).trim());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!said.contains("E: "), "{} failed: {}", shown(command), said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_names_and_versions() {
        let list = "Package: linux-image-6.1.0-9-cloud-amd64\nSource: linux\nVersion: 6.1.90-1\n\n\
                    Package: less\nVersion: 590-2\n";
        let found = packages_in(list, &["linux-image-"]);
        assert_eq!(found, [("linux-image-6.1.0-9-cloud-amd64".into(), "6.1.90-1".into())]);
    }
}
