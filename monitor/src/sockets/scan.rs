//! A scan: the kernel's lists of sockets, and the holders of what they have.

use std::{collections::HashSet, io};

use monitor_common::{flow::Side, held_socket::HeldSocket};

use super::{
    captures::{Candidates, Capture},
    descriptors, held,
    holders::Holders,
    list::SocketList,
    namespaces::{self, Namespaces},
    numbered,
    port_filter::PortFilter,
    scopes::Scopes,
    socket::Socket,
    visibility::HiddenProcesses,
};
use crate::process::ProcessEnricher;

/// What a scan found.
#[derive(Debug, Default)]
pub struct ScanResult {
    /// Sockets that have one of the ports at one of their ends, by port. A socket whose ends have
    /// two different ones is there twice.
    pub sockets: Vec<Socket>,
    /// Sockets that take packets of the ports without holding them, or may take them.
    pub captures: Vec<Capture>,
    /// Network namespaces whose sockets were listed.
    pub namespaces: usize,
    /// What was not seen.
    pub unseen: Unseen,
}

/// What a scan had no permission to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// Network namespaces whose sockets could not be listed.
    pub namespaces: usize,
    /// Processes that may be in further namespaces.
    pub processes: usize,
    /// Processes that may hold sockets that were found.
    pub holders: usize,
    /// What hides processes altogether; they cannot be counted.
    pub hidden: Option<HiddenProcesses>,
}

impl Unseen {
    /// Whether sockets may exist that were not listed.
    pub const fn may_have_sockets(&self) -> bool {
        self.namespaces > 0 || self.processes > 0 || self.hidden.is_some()
    }

    /// Whether sockets that were listed may have holders that were not found.
    pub const fn may_have_holders(&self) -> bool {
        self.holders > 0 || self.hidden.is_some()
    }
}

/// Finds the sockets on `ports` and their holders. An error means that `/proc` cannot be read;
/// parts of it that cannot are counted in [`ScanResult::unseen`].
pub fn scan(ports: &[u16], processes: &mut ProcessEnricher) -> io::Result<ScanResult> {
    scan_with(ports, processes, || None)
}

/// [`scan`] with the kernel side's list of open sockets; `None` if it has none.
///
/// `held_sockets` is called after the lists of the namespaces are read: a socket that is opened in
/// between is added, while the other order would show it without a holder.
pub fn scan_with(
    ports: &[u16],
    processes: &mut ProcessEnricher,
    held_sockets: impl FnOnce() -> Option<Vec<HeldSocket>>,
) -> io::Result<ScanResult> {
    let proc = numbered::proc()?;
    let own = namespaces::own_inode()?;
    let namespaces = Namespaces::find(&proc)?;
    let filter = PortFilter::new(ports);
    let mut listed = namespaces::on_own_thread(|| SocketList::of_all(&namespaces, own, &filter))?;
    let mut captures = Candidates::new(std::mem::take(&mut listed.captures), &filter);
    let mut holders = Holders::default();
    let mut searched: HashSet<u32> = if let Some(held) = held_sockets() {
        held::add_unlisted(&mut listed.entries, &held, &filter);
        holders.add_listed(&held, processes)
    } else {
        let inodes = listed.entries.iter().map(|(_, entry)| entry.inode);
        inodes.filter(|inode| *inode != 0).collect()
    };
    searched.extend(captures.inodes());
    let found = descriptors::find(&proc, &searched)?;
    captures.ask_holders(&found);
    let unseen = Unseen {
        namespaces: listed.refused,
        processes: listed.unplaced,
        holders: found.unreadable,
        hidden: HiddenProcesses::here(),
    };
    holders.add_found(found, processes);
    let captures = captures.captures(&holders, unseen.may_have_holders());
    let sockets = listed.entries.iter().flat_map(|&(netns_inode, entry)| {
        filter.ends(&entry).into_iter().flatten().map(move |end| (netns_inode, entry, end))
    });
    let acceptors = &listed.acceptors;
    let mut scopes = Scopes::new(&namespaces, own, listed.interfaces);
    let mut sockets: Vec<Socket> = sockets
        .map(|(netns_inode, entry, (port, side))| {
            let holders = holders.of(entry.inode);
            // A connection without a file behind it, as one in TIME_WAIT, has no inode.
            let holders_unknown =
                holders.is_empty() && entry.inode != 0 && unseen.may_have_holders();
            let scope = scopes.of(netns_inode, &entry);
            let interface = scopes.interface(netns_inode, &entry);
            let is_accepted = side == Side::Remote && acceptors.have(netns_inode, &entry);
            Socket {
                port,
                side,
                netns_inode,
                scope,
                interface,
                entry,
                holders,
                holders_unknown,
                is_accepted,
                expected: None,
            }
        })
        .collect();
    sockets.sort_by_key(Socket::order);
    Ok(ScanResult { sockets, captures, namespaces: listed.namespaces, unseen })
}
