//! A release: its version, target and folders, and the commands that build it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    arch::Arch,
    target::Target,
    workspace::{root, shown},
};

/// The project's home; empty as long as it has none.
pub(super) const HOME: &str = env!("CARGO_PKG_REPOSITORY");

/// The environment variable that names the publisher of the packages: `NAME <ADDRESS>`.
const MAINTAINER: &str = "GHOSTPORT_MAINTAINER";
/// An address that leads nowhere (RFC 2606).
const NO_MAINTAINER: &str = "The ghostport developers <developers@ghostport.invalid>";

/// What all that is built has in common.
pub(crate) struct Release {
    pub(crate) target: Target,
    pub(crate) version: &'static str,
    pub(crate) revision: String,
    /// Seconds since 1970: the time that everything bears.
    pub(crate) epoch: String,
    /// The publisher of the packages.
    pub(crate) maintainer: String,
    /// The sources.
    pub(crate) source: PathBuf,
    /// Where everything is built.
    pub(crate) folder: PathBuf,
}

impl Release {
    pub(crate) fn of(target: Target, source: &Path, folder: &Path) -> Result<Self> {
        Ok(Self {
            target,
            version: env!("CARGO_PKG_VERSION"),
            revision: of_git(&["rev-parse", "--short", "HEAD"])?,
            epoch: match env::var("SOURCE_DATE_EPOCH") {
                Ok(epoch) => epoch,
                Err(_) => of_git(&["log", "-1", "--format=%ct"])?,
            },
            maintainer: env::var(MAINTAINER).unwrap_or_else(|_| NO_MAINTAINER.to_owned()),
            source: source.to_path_buf(),
            folder: folder.to_path_buf(),
        })
    }

    /// The architecture that everything is for.
    pub(super) fn arch(&self) -> Arch {
        self.target.arch
    }

    /// Where what is for the other architecture is built: within the folder for this machine's own.
    pub(super) fn other_folder(&self) -> PathBuf {
        if self.target.is_of_this_machine() {
            let other = if self.arch() == Arch::Amd64 { Arch::Arm64 } else { Arch::Amd64 };
            self.folder.join(other.debian())
        } else {
            self.folder.parent().unwrap_or(&self.folder).to_path_buf()
        }
    }

    /// The folder of what is handed out.
    pub(super) fn out(&self) -> PathBuf {
        self.folder.join("out")
    }

    /// An empty folder to work in.
    pub(super) fn workshop(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        afresh(&folder)?;
        Ok(folder)
    }
}

/// Makes a folder, without what was in it before.
pub(super) fn afresh(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

fn of_git(question: &[&str]) -> Result<String> {
    let mut git = Command::new("git");
    Ok(output(git.args(question).current_dir(root()))?.trim().to_owned())
}

/// Runs a command, which must succeed; what it says is shown only if it does not. Returns its
/// standard output.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {}", shown(command)))?;
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    ensure!(
        output.status.success(),
        "{} failed: {}\n{}",
        shown(command),
        output.status,
        String::from_utf8_lossy(&said).trim_end()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(super) fn say(text: &str) {
    eprintln!("dist: {text}");
}
