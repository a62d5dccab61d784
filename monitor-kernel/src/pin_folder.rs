//! Which folder of the BPF filesystem is the agent's: one that others could write to may hold maps and
//! links of theirs.
//!
//! The BPF filesystem is writable for every user unless it is mounted otherwise, so the name of the
//! folder may be taken. Then another one is made beside it, and found again by its name.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::process::geteuid;

use crate::{
    bpffs::{is_bpf_filesystem, names_in},
    clock,
    modes::SHARED,
    record,
};

/// Why a folder that exists is not the agent's; `None` if it is, or if there is none.
pub fn distrusted(root: &Path) -> Option<String> {
    match fs::symlink_metadata(root) {
        Ok(found) => check(root, &found).err(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(error.to_string()),
    }
}

/// The folders that are the agent's: `root`, and those beside it that agents made when it was not.
pub(crate) fn existing(root: &Path) -> Vec<PathBuf> {
    candidates(root).into_iter().filter(|folder| is_ours(folder)).collect()
}

/// The folder to use, which may not exist.
pub(crate) fn chosen(root: &Path) -> PathBuf {
    existing(root)
        .into_iter()
        .next()
        .unwrap_or_else(|| if distrusted(root).is_none() { root.to_owned() } else { beside(root) })
}

/// `root`, and the folders beside it that agents may have made.
pub(crate) fn candidates(root: &Path) -> Vec<PathBuf> {
    let (Some(parent), Some(prefix)) = (root.parent(), prefix(root)) else {
        return vec![root.into()];
    };
    let names = names_in(parent).into_iter().filter(|name| name.starts_with(&prefix));
    [root.to_owned()].into_iter().chain(names.map(|name| parent.join(name))).collect()
}

pub(crate) fn is_ours(folder: &Path) -> bool {
    fs::symlink_metadata(folder).is_ok_and(|found| check(folder, &found).is_ok())
}

/// A name that no one knows before.
fn beside(root: &Path) -> PathBuf {
    let prefix = prefix(root).unwrap_or_default();
    root.with_file_name(format!("{prefix}{:x}", clock::boottime_ns()))
}

fn prefix(root: &Path) -> Option<String> {
    Some(format!("{}-", root.file_name()?.to_str()?))
}

/// An error says why the folder is not the agent's alone.
fn check(folder: &Path, found: &Metadata) -> Result<(), String> {
    if !found.is_dir() || !is_bpf_filesystem(folder) {
        return Err("it is no folder of a BPF filesystem".to_owned());
    }
    if found.mode() & SHARED != 0 {
        return Err(format!("others may write to it (mode {:04o})", found.mode() & 0o7777));
    }
    let owner = found.uid();
    if owner == geteuid().as_raw() || is_agents_user(owner) || is_parent_closed(folder) {
        return Ok(());
    }
    Err(format!("it belongs to user {owner}"))
}

/// Whether the user is the one that the administrator lets agents run as: that of their run-time folder.
fn is_agents_user(user: u32) -> bool {
    let folder = Path::new(record::FOLDER);
    let is_theirs = fs::symlink_metadata(folder)
        .is_ok_and(|found| found.is_dir() && found.uid() == user && found.mode() & SHARED == 0);
    is_theirs && is_parent_closed(folder)
}

/// Whether root alone could have made the folder.
fn is_parent_closed(folder: &Path) -> bool {
    let parent = folder.parent().and_then(|parent| fs::metadata(parent).ok());
    parent.is_some_and(|parent| parent.uid() == 0 && parent.mode() & SHARED == 0)
}
