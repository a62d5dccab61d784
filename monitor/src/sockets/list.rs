//! The sockets of every network namespace.

use std::{
    collections::HashSet,
    fs, io,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::Path,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{
    Watched, diag,
    namespaces::{Door, Namespaces},
    proc_net,
    socket::Entry,
};

/// The folder with the lists of the calling thread's namespace.
const HERE: &str = "/proc/thread-self/net";

/// Sockets on watched ports, each with the inode of its namespace, if that may be seen.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) entries: Vec<(Option<u32>, Entry)>,
    /// Namespaces that were listed.
    pub(super) namespaces: usize,
    /// Namespaces that could not be.
    pub(super) refused: usize,
    /// Processes that may be in further ones.
    pub(super) unplaced: usize,
    /// What the lists are known by: the inode of one of them.
    lists: HashSet<u64>,
}

impl Listed {
    /// Lists all of them. The calling thread is in `own`, and somewhere else afterwards.
    pub(super) fn of_all(namespaces: &Namespaces, own: u32, watched: &Watched<'_>) -> Self {
        let mut listed = Self::default();
        listed.add(own, here(watched));
        for (&inode, doors) in &namespaces.doors {
            if inode != own {
                listed.add(inode, through_any(doors, inode, watched));
            }
        }
        for process in &namespaces.hidden {
            if let Err(error) = listed.add_of(process, watched)
                && !is_gone(&error)
            {
                listed.unplaced += 1;
            }
        }
        listed
    }

    fn add(&mut self, inode: u32, found: io::Result<Found>) {
        match found {
            Ok(Found { entries, lists }) => {
                self.namespaces += 1;
                self.entries.extend(entries.into_iter().map(|entry| (Some(inode), entry)));
                self.lists.extend(lists);
            }
            // Everybody who was in it has left, and so it is no more.
            Err(error) if is_gone(&error) => {}
            Err(error) => {
                tracing::debug!(%error, inode, "the sockets of a network namespace stay unknown");
                self.refused += 1;
            }
        }
    }

    /// Adds the namespace of a process that does not show where it is: anybody may read the lists
    /// there, which are those of a known namespace if their inodes are (`fs/proc/proc_net.c`).
    fn add_of(&mut self, process: &Path, watched: &Watched<'_>) -> io::Result<()> {
        let lists = process.join("net");
        if self.lists.insert(identity(&lists)?) {
            let entries = collect(watched, |visit| proc_net::list(&lists, visit))?;
            self.namespaces += 1;
            self.entries.extend(entries.into_iter().map(|entry| (None, entry)));
        }
        Ok(())
    }
}

/// What was found in a namespace.
struct Found {
    entries: Vec<Entry>,
    /// What its lists are known by.
    lists: Option<u64>,
}

/// Tries one way after the other; the first error that is more than an open door that has closed
/// is the one that counts.
fn through_any(doors: &[Door], inode: u32, watched: &Watched<'_>) -> io::Result<Found> {
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for door in doors {
        match through(door, inode, watched) {
            Ok(found) => return Ok(found),
            Err(error) if is_gone(&failure) => failure = error,
            Err(_) => {}
        }
    }
    Err(failure)
}

fn through(door: &Door, inode: u32, watched: &Watched<'_>) -> io::Result<Found> {
    let namespace = door.open(inode)?;
    match move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)) {
        Ok(()) => here(watched),
        Err(refusal) => {
            let lists = door.lists().ok_or(refusal)?;
            let entries = collect(watched, |visit| proc_net::list(&lists, visit))?;
            let lists = identity(&lists).ok();
            // The process through which the namespace was reached may have ended meanwhile.
            door.open(inode)?;
            Ok(Found { entries, lists })
        }
    }
}

/// Those of the calling thread's namespace.
fn here(watched: &Watched<'_>) -> io::Result<Found> {
    let here = Path::new(HERE);
    let entries = collect(watched, |visit| diag::list(watched.ports, visit))
        .or_else(|_| collect(watched, |visit| proc_net::list(here, visit)))?;
    Ok(Found { entries, lists: identity(here).ok() })
}

/// The inode of a list that every namespace has.
fn identity(lists: &Path) -> io::Result<u64> {
    Ok(fs::metadata(lists.join("dev"))?.ino())
}

/// Those on watched ports.
fn collect(
    watched: &Watched<'_>,
    list: impl FnOnce(&mut dyn FnMut(Entry)) -> io::Result<()>,
) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    list(&mut |entry| {
        if watched.ends(&entry).iter().any(Option::is_some) {
            entries.push(entry);
        }
    })?;
    Ok(entries)
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}
