//! Debian's archive, beside the system's own package lists: what it has for an architecture, and
//! fetching from it.
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

use crate::{
    arch::Arch,
    progress::say,
    workspace::{shown, succeed, target_dir},
};

/// Suites that have kernels and compilers, and the label of the archive that they are in.
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
    "APT::Sandbox::User=root",
    "Acquire::Languages=none",
    "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
    "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false",
    "Acquire::Retries=3",
    "Acquire::http::Timeout=30",
    "Acquire::https::Timeout=30",
];

/// A private view of the archive.
pub(crate) struct Archive {
    arch: Arch,
    folder: PathBuf,
}

impl Archive {
    /// What the newer suites have.
    pub(crate) fn open(arch: Arch) -> Result<Self> {
        let suites = SUITES.iter().map(|(suite, label)| ((*suite).to_owned(), *label));
        Self::look(arch, arch.debian(), &suites.collect::<Vec<_>>())
    }

    /// What this machine's own suite has, with what was packaged for it later.
    pub(crate) fn with_backports(arch: Arch, suite: &str) -> Result<Self> {
        let suites = [
            (suite.to_owned(), "Debian"),
            (format!("{suite}-security"), "Debian-Security"),
            (backports(suite), "Debian"),
        ];
        Self::look(arch, &backports(suite), &suites)
    }

    /// Opens the view in a folder of its own, and looks for news if the last look is long ago. Old
    /// news are better than none.
    fn look(arch: Arch, name: &str, suites: &[(String, &str)]) -> Result<Self> {
        let archive = Self { arch, folder: target_dir()?.join("apt").join(name) };
        if archive.is_fresh() {
            return Ok(archive);
        }
        for folder in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(archive.folder.join(folder))?;
        }
        fs::write(archive.folder.join("sources.list"), sources(arch, suites)?)?;
        say(&format!("looking for the newest packages of {name}"));
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
    pub(crate) fn packages(&self, prefixes: &[&str]) -> Result<BTreeMap<String, String>> {
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

    /// Fetches packages and unpacks them into a folder: completely or not at all, whenever this is
    /// interrupted. apt checks what it has fetched against the signed lists.
    pub(crate) fn unpack(&self, packages: &[String], into: &Path) -> Result<()> {
        let work = PathBuf::from(format!("{}.unfinished", into.display()));
        let _ = fs::remove_dir_all(&work);
        let [fetched, root] = ["packages", "root"].map(|name| work.join(name));
        fs::create_dir_all(&fetched)?;
        let mut command = self.apt("apt-get");
        output(command.args(["-q", "download"]).args(packages).current_dir(&fetched))?;
        for package in fs::read_dir(&fetched)? {
            let mut command = Command::new("dpkg-deb");
            succeed(command.arg("--extract").arg(package?.path()).arg(&root))?;
        }
        fs::rename(&root, into)?;
        Ok(fs::remove_dir_all(work)?)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(self.settings());
        command
    }

    /// Options that make apt look at this view, and at nothing else.
    pub(crate) fn settings(&self) -> Vec<String> {
        let folder = self.folder.display();
        let own = [
            format!("APT::Architecture={}", self.arch.debian()),
            format!("APT::Architectures={}", self.arch.debian()),
            format!("Dir::Etc::SourceList={folder}/sources.list"),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            "Dir::Etc::Preferences=/dev/null".to_owned(),
            "Dir::Etc::PreferencesParts=/dev/null".to_owned(),
            format!("Dir::State::Lists={folder}/lists"),
            format!("Dir::Cache={folder}/cache"),
        ];
        let settings = SETTINGS.iter().map(|setting| (*setting).to_owned()).chain(own);
        settings.flat_map(|setting| ["-o".to_owned(), setting]).collect()
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

/// What was packaged for a suite after it came out.
pub(crate) fn backports(suite: &str) -> String {
    format!("{suite}-backports")
}

/// A list of sources for the suites, with the addresses that this machine's apt has.
fn sources(arch: Arch, suites: &[(String, &str)]) -> Result<String> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"]);
    let known = output(&mut targets)?;
    let address = |label: &str| {
        let of_label = |line: &str| {
            let (found, address) = line.split_once(' ')?;
            (found == label).then(|| address.to_owned())
        };
        known.lines().find_map(of_label).with_context(|| {
            format!("this machine's apt has no source of {label}, where packages come from")
        })
    };
    let lines = suites.iter().map(|(suite, label)| {
        let address = address(label)?;
        let options = format!("arch={}{}", arch.debian(), signed_by());
        Ok(format!("deb [{options}] {address} {suite} main\n"))
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
