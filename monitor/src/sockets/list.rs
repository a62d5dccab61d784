//! The sockets of every network namespace.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use super::{
    acceptors::{self, Acceptor, Acceptors},
    bound_interfaces::{self, BoundInterface},
    captures::{self, ListedCapture},
    diag,
    namespaces::{self, HERE, NamespacePath, Namespaces, is_gone},
    port_filter::PortFilter,
    proc_net,
    socket::Entry,
};

/// Sockets on the ports, each with the inode of its namespace, if that may be seen.
#[derive(Debug, Default)]
pub(super) struct SocketList {
    pub(super) entries: Vec<(Option<u32>, Entry)>,
    /// Packet, raw and AF_XDP sockets.
    pub(super) captures: Vec<(Option<u32>, ListedCapture)>,
    /// Interfaces by namespace and index, where a socket is bound to one.
    pub(super) interfaces: BTreeMap<(u32, u32), BoundInterface>,
    /// Sockets that accept where a connection has a peer with a watched port.
    pub(super) acceptors: Acceptors,
    /// Namespaces that were listed.
    pub(super) namespaces: usize,
    /// Namespaces that could not be.
    pub(super) refused: usize,
    /// Processes that may be in further namespaces.
    pub(super) unplaced: usize,
    /// The inodes of a file in each `net` folder that was read: they identify the namespace.
    lists: HashSet<u64>,
}

impl SocketList {
    /// Lists all of them. The calling thread is in `own` before, and in any other afterwards.
    pub(super) fn of_all(namespaces: &Namespaces, own: u32, filter: &PortFilter<'_>) -> Self {
        let mut listed = Self::default();
        listed.add(own, here(filter));
        for (&inode, paths) in &namespaces.paths {
            if inode != own {
                listed.add(inode, through_any(paths, inode, filter));
            }
        }
        for process in &namespaces.hidden {
            if let Err(error) = listed.add_of(process, filter)
                && !is_gone(&error)
            {
                listed.unplaced += 1;
            }
        }
        listed
    }

    fn add(&mut self, inode: u32, found: io::Result<Found>) {
        match found {
            Ok(Found { entries, acceptors, captures, interfaces, lists }) => {
                self.acceptors.extend(Some(inode), acceptors);
                let interfaces = interfaces.into_iter();
                self.interfaces.extend(interfaces.map(|(index, known)| ((inode, index), known)));
                self.namespaces += 1;
                self.entries.extend(entries.into_iter().map(|entry| (Some(inode), entry)));
                self.captures.extend(captures.into_iter().map(|capture| (Some(inode), capture)));
                self.lists.extend(lists);
            }
            // Its last process has left it, and it has ended.
            Err(error) if is_gone(&error) => {}
            Err(error) => {
                tracing::debug!(%error, inode, "the sockets of a network namespace stay unknown");
                self.refused += 1;
            }
        }
    }

    /// Adds the namespace of a process that hides which one it is in. Its lists are readable by every
    /// user, and those of a known namespace have known inodes (`fs/proc/proc_net.c`).
    fn add_of(&mut self, process: &Path, filter: &PortFilter<'_>) -> io::Result<()> {
        let lists = process.join("net");
        if self.lists.insert(identity(&lists)?) {
            let Found { entries, acceptors, captures, .. } = in_folder(&lists, filter)?;
            self.acceptors.extend(None, acceptors);
            self.namespaces += 1;
            self.entries.extend(entries.into_iter().map(|entry| (None, entry)));
            self.captures.extend(captures.into_iter().map(|capture| (None, capture)));
        }
        Ok(())
    }
}

/// What was found in a namespace.
struct Found {
    entries: Vec<Entry>,
    acceptors: Vec<Acceptor>,
    captures: Vec<ListedCapture>,
    /// Its interfaces, if they matter.
    interfaces: BTreeMap<u32, BoundInterface>,
    /// The inode of a file in its `net` folder.
    lists: Option<u64>,
}

fn through_any(paths: &[NamespacePath], inode: u32, filter: &PortFilter<'_>) -> io::Result<Found> {
    let listed = |lists: &Path| {
        let mut found = in_folder(lists, filter)?;
        found.lists = identity(lists).ok();
        Ok(found)
    };
    namespaces::within_any(paths, inode, || here(filter), listed)
}

/// The sockets of the calling thread's namespace.
fn here(filter: &PortFilter<'_>) -> io::Result<Found> {
    let here = Path::new(HERE);
    let mut entries = collect(filter, |visit| diag::list(filter.ports, visit))
        .or_else(|_| collect(filter, |visit| proc_net::list(here, visit)))?;
    entries.extend(rare(here, filter));
    let acceptors = acceptors::find(&entries, filter, |visit| {
        diag::list_acceptors(&mut *visit).or_else(|_| proc_net::list(here, &mut *visit))?;
        proc_net::list_rare(here, visit)
    });
    let captures = captures::here(here).unwrap_or_else(|error| {
        tracing::debug!(%error, "packet sockets are listed without their filters");
        without_filters(here)
    });
    let interfaces = bound_interfaces::of(&entries);
    Ok(Found { entries, acceptors, captures, interfaces, lists: identity(here).ok() })
}

/// What a `net` folder lists.
fn in_folder(lists: &Path, filter: &PortFilter<'_>) -> io::Result<Found> {
    let mut entries = collect(filter, |visit| proc_net::list(lists, visit))?;
    entries.extend(rare(lists, filter));
    let captures = without_filters(lists);
    let acceptors = acceptors::find(&entries, filter, |visit| {
        proc_net::list(lists, &mut *visit)?;
        proc_net::list_rare(lists, visit)
    });
    Ok(Found { entries, acceptors, captures, interfaces: BTreeMap::new(), lists: None })
}

/// UDP-Lite and SCTP.
fn rare(lists: &Path, filter: &PortFilter<'_>) -> Vec<Entry> {
    collect(filter, |visit| proc_net::list_rare(lists, visit)).unwrap_or_else(|error| {
        tracing::debug!(%error, "sockets of UDP-Lite and SCTP stay unknown");
        Vec::new()
    })
}

/// Packet, raw and AF_XDP sockets as a `net` folder lists them.
fn without_filters(lists: &Path) -> Vec<ListedCapture> {
    captures::of_folder(lists).unwrap_or_else(|error| {
        tracing::debug!(%error, "packet and raw sockets stay unknown");
        Vec::new()
    })
}

/// The inode of a file that the `net` folder of every namespace has.
fn identity(lists: &Path) -> io::Result<u64> {
    Ok(fs::metadata(lists.join("dev"))?.ino())
}

/// The sockets of a list that have one of the ports.
fn collect(
    filter: &PortFilter<'_>,
    list: impl FnOnce(&mut dyn FnMut(Entry)) -> io::Result<()>,
) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    list(&mut |entry| {
        if filter.matches(&entry) {
            entries.push(entry);
        }
    })?;
    Ok(entries)
}
