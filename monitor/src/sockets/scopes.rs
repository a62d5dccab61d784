//! From where sockets can be reached.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use monitor_common::flow::LOOPBACK;

use super::{
    addresses::has_other_interfaces,
    bound_interfaces::BoundInterface,
    namespaces::{HERE, Namespaces},
    socket::{Entry, SocketScope},
};

/// From where sockets can be reached. A namespace is looked at when one of its sockets is.
pub(super) struct Scopes<'a> {
    namespaces: &'a Namespaces,
    own: u32,
    /// Interfaces that sockets may be bound to, by namespace and index.
    interfaces: BTreeMap<(u32, u32), BoundInterface>,
    has_others: HashMap<u32, Option<bool>>,
}

impl<'a> Scopes<'a> {
    /// The calling thread is in `own`.
    pub(super) fn new(
        namespaces: &'a Namespaces,
        own: u32,
        interfaces: BTreeMap<(u32, u32), BoundInterface>,
    ) -> Self {
        Self { namespaces, own, interfaces, has_others: HashMap::new() }
    }

    /// From where a socket can be reached; `None` if that cannot be found out.
    pub(super) fn of(&mut self, netns_inode: Option<u32>, entry: &Entry) -> Option<SocketScope> {
        if entry.local.ip().to_canonical().is_loopback() || entry.interface == LOOPBACK {
            return Some(SocketScope::Host);
        }
        let inode = netns_inode?;
        if self.interfaces.get(&(inode, entry.interface)).is_some_and(|bound| bound.is_dummy) {
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

    /// The interface that a socket is bound to. Of another namespace only its index may be known, which
    /// is written as `ss` does.
    pub(super) fn interface(&self, netns_inode: Option<u32>, entry: &Entry) -> Option<String> {
        let index = (entry.interface != 0).then_some(entry.interface)?;
        let known = netns_inode.and_then(|inode| self.interfaces.get(&(inode, index)));
        Some(known.map_or_else(|| format!("if{index}"), |bound| bound.name.clone()))
    }
}
