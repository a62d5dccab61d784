//! From where sockets can be reached.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

use monitor_common::flow::LOOPBACK;

use super::{
    addresses::has_other_interfaces,
    namespaces::{HERE, Namespaces},
    socket::{Entry, SocketScope},
};

/// From where sockets can be reached. A namespace is looked at when one of its sockets is.
pub(super) struct Scopes<'a> {
    namespaces: &'a Namespaces,
    own: u32,
    /// Dummy interfaces, by namespace and index.
    dummies: BTreeSet<(u32, u32)>,
    has_others: HashMap<u32, Option<bool>>,
}

impl<'a> Scopes<'a> {
    /// The calling thread is in `own`.
    pub(super) fn new(namespaces: &'a Namespaces, own: u32, dummies: BTreeSet<(u32, u32)>) -> Self {
        Self { namespaces, own, dummies, has_others: HashMap::new() }
    }

    /// From where a socket can be reached; `None` if that cannot be found out.
    pub(super) fn of(&mut self, netns_inode: Option<u32>, entry: &Entry) -> Option<SocketScope> {
        if entry.local.ip().to_canonical().is_loopback() || entry.interface == LOOPBACK {
            return Some(SocketScope::Host);
        }
        let inode = netns_inode?;
        if self.dummies.contains(&(inode, entry.interface)) {
            return Some(SocketScope::Host);
        }
        let Self { namespaces, own, has_others, .. } = self;
        let has_others = *has_others.entry(inode).or_insert_with(|| {
            if inode == *own {
                return has_other_interfaces(Path::new(HERE));
            }
            let paths = namespaces.paths.get(&inode)?;
            paths.iter().find_map(|path| has_other_interfaces(&path.lists()?))
        });
        Some(if has_others? { SocketScope::World } else { SocketScope::Host })
    }
}
