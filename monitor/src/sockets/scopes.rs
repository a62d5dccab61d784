//! From where sockets can be reached.

use std::{collections::HashMap, path::Path};

use super::{
    addresses::has_other_interfaces,
    namespaces::Namespaces,
    socket::{Entry, SocketScope},
};

/// The folder of the calling thread's namespace.
const HERE: &str = "/proc/thread-self/net";

/// From where sockets can be reached. A namespace is looked at when one of its sockets is.
pub(super) struct Scopes<'a> {
    namespaces: &'a Namespaces,
    own: u32,
    has_others: HashMap<u32, Option<bool>>,
}

impl<'a> Scopes<'a> {
    /// The calling thread is in `own`.
    pub(super) fn new(namespaces: &'a Namespaces, own: u32) -> Self {
        Self { namespaces, own, has_others: HashMap::new() }
    }

    /// From where a socket can be reached; `None` if that cannot be found out.
    pub(super) fn of(&mut self, netns_inode: Option<u32>, entry: &Entry) -> Option<SocketScope> {
        if entry.local.ip().to_canonical().is_loopback() {
            return Some(SocketScope::Host);
        }
        let inode = netns_inode?;
        let Self { namespaces, own, has_others } = self;
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
