//! Which package installed a file, from the databases of dpkg, apk and rpm.
//!
//! The database is the one in the process's own root: that of a container for its processes. It is read by
//! parsers of our own, which are pure; nothing of it is executed or asked.

mod apk;
mod dpkg;
mod lines;

use std::{
    fs::File,
    io::{self, BufReader, Read as _},
    os::fd::OwnedFd,
    sync::Arc,
};

use rustix::fs::Dir;

use super::{
    digest::{Algorithm, PackageDigest},
    facts::Package,
    steps::{Contents, Steps},
};
use crate::process::foreign_path::{Root, regular_in};

/// The most of a database that is read.
const MAX_DATABASE: u64 = 64 << 20;

/// The most of a list of files.
const MAX_LIST: u64 = 8 << 20;

/// Packages with a list of files, at most.
const MAX_LISTS: usize = 20_000;

/// Lists that one step reads.
const LISTS_OF_STEP: usize = 32;

/// The package of a file, and its hash there.
pub(super) type Owner = (Package, Option<PackageDigest>);

/// The package that installed the file at a path; `None` if no database has it.
///
/// # Errors
///
/// A database cannot be read.
pub(super) fn owner(root: &Arc<Root>, path: &str, steps: &Steps) -> io::Result<Option<Owner>> {
    if let Some(info) = folder(root, "/var/lib/dpkg/info", steps)? {
        return of_dpkg(root, &Arc::new(info), path, steps);
    }
    if let Some(installed) = file(root, "/lib/apk/db/installed", steps)? {
        let found = apk::find(&mut text(installed, steps), path)?;
        let digest = |value| PackageDigest { algorithm: Algorithm::Sha1, value };
        return Ok(found.map(|(package, sha1)| (package, sha1.map(digest))));
    }
    Ok(None)
}

fn of_dpkg(
    root: &Arc<Root>,
    info: &Arc<OwnedFd>,
    path: &str,
    steps: &Steps,
) -> io::Result<Option<Owner>> {
    let names = match file(root, "/var/lib/dpkg/diversions", steps)? {
        Some(diversions) => dpkg::names(path, &mut text(diversions, steps))?,
        None => dpkg::names(path, &mut io::empty())?,
    };
    let dpkg::Names { paths, only, never } = names;
    let listed = Arc::clone(info);
    let mut lists = steps.step(move || names_of_lists(&listed))?;
    let is_of = |list: &String, package: &Option<String>| {
        let name = dpkg::package_of_list(list).and_then(|name| name.split(':').next());
        package.is_some() && name == package.as_deref()
    };
    lists.retain(|list| (only.is_none() || is_of(list, &only)) && !is_of(list, &never));
    dpkg::sort_by_likelihood(&mut lists, path);
    let Some(list) = list_with(info, lists, &paths, steps)? else { return Ok(None) };
    let Some(package) = dpkg::package_of_list(&list) else { return Ok(None) };
    let Some(status) = file(root, "/var/lib/dpkg/status", steps)? else { return Ok(None) };
    let Some(found) = dpkg::package(&mut text(status, steps), package)? else { return Ok(None) };
    let (sums, folder) = (format!("{package}.md5sums"), Arc::clone(info));
    let sums = steps.step(move || Ok(regular_in(&folder, &sums).ok()))?;
    let digest = match sums {
        Some(sums) => dpkg::digest(&mut text(sums, steps), &paths)?,
        None => None,
    };
    let digest = digest.map(|value| PackageDigest { algorithm: Algorithm::Md5, value });
    Ok(Some((found, digest)))
}

/// The first list that has one of `paths`.
fn list_with(
    info: &Arc<OwnedFd>,
    lists: Vec<String>,
    paths: &[String],
    steps: &Steps,
) -> io::Result<Option<String>> {
    // The likeliest alone, then several a step.
    let (first, rest) = lists.split_at(lists.len().min(1));
    for some in first.chunks(1).chain(rest.chunks(LISTS_OF_STEP)) {
        let (some, paths, info) = (some.to_vec(), paths.to_vec(), Arc::clone(info));
        let counted = steps.clone();
        let found = steps.step(move || {
            for list in some {
                let mut bytes = Vec::new();
                // One that vanishes is that of a package that is being upgraded.
                let Ok(file) = regular_in(&info, &list) else { continue };
                file.take(MAX_LIST).read_to_end(&mut bytes)?;
                counted.count(bytes.len());
                if dpkg::lists(&bytes, &paths) {
                    return Ok(Some(list));
                }
            }
            Ok(None)
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn names_of_lists(info: &OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(info)?.take(4 * MAX_LISTS) {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if dpkg::package_of_list(name).is_some() && names.len() < MAX_LISTS {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// The text of a database.
fn text(file: File, steps: &Steps) -> BufReader<Contents> {
    BufReader::new(Contents::new(steps.clone(), Arc::new(file), MAX_DATABASE))
}

fn file(root: &Arc<Root>, path: &'static str, steps: &Steps) -> io::Result<Option<File>> {
    let root = Arc::clone(root);
    steps.step(move || if_there(root.open_regular(path.as_bytes())))
}

fn folder(root: &Arc<Root>, path: &'static str, steps: &Steps) -> io::Result<Option<OwnedFd>> {
    let root = Arc::clone(root);
    steps.step(move || if_there(root.open_folder(path.as_bytes())))
}

fn if_there<T>(opened: io::Result<T>) -> io::Result<Option<T>> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
