//! The processes that hold sockets.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use monitor_common::held_socket::HeldSocket;

use super::{
    descriptors::{Descriptor, Found},
    held,
};
use crate::process::{Identity, ProcessEnricher, proc_dir::ProcessDir, start_time::ProcessKey};

/// The holders of each socket, by its inode.
#[derive(Default)]
pub(super) struct Holders {
    by_inode: HashMap<u32, Vec<Arc<Identity>>>,
}

impl Holders {
    /// Adds the holders that the kernel side lists. Returns the inodes of sockets without a holder
    /// in `/proc`: the process has ended, or has another id because `/proc` is of another pid
    /// namespace.
    pub(super) fn add_listed(
        &mut self,
        held: &[HeldSocket],
        processes: &mut ProcessEnricher,
    ) -> HashSet<u32> {
        let mut known: HashMap<ProcessKey, Option<Arc<Identity>>> = HashMap::new();
        let mut of = |key: &ProcessKey| {
            let identity = known.entry(*key).or_insert_with(|| {
                let (process, _) = key.find().ok()?;
                processes.look_at(&process).ok().map(Arc::new)
            });
            identity.clone()
        };
        let mut lost = HashSet::new();
        for (inode, processes) in held::by_inode(held) {
            let holders: Vec<_> = processes.iter().filter_map(&mut of).collect();
            if holders.is_empty() {
                lost.insert(inode);
            } else {
                self.by_inode.insert(inode, holders);
            }
        }
        lost
    }

    /// Adds the processes whose descriptors were found. A process that has ended since, or closed
    /// the socket, is no holder.
    pub(super) fn add_found(&mut self, found: Found, processes: &mut ProcessEnricher) {
        let mut known: HashMap<u32, Option<(ProcessDir, Arc<Identity>)>> = HashMap::new();
        let mut of = |inode: u32, descriptor: &Descriptor| {
            let process = known.entry(descriptor.pid).or_insert_with(|| {
                let process = ProcessDir::open(descriptor.pid).ok()?;
                let identity = processes.look_at(&process).ok()?;
                Some((process, Arc::new(identity)))
            });
            let (process, identity) = process.as_ref()?;
            let is_held =
                process.leads_to(&descriptor.path, format!("socket:[{inode}]").as_bytes());
            is_held.then(|| Arc::clone(identity))
        };
        self.by_inode.extend(found.by_inode.into_iter().map(|(inode, descriptors)| {
            (inode, descriptors.iter().filter_map(|descriptor| of(inode, descriptor)).collect())
        }));
    }

    /// The holders of a socket, in the order of their ids.
    pub(super) fn of(&self, inode: u32) -> Vec<Arc<Identity>> {
        self.by_inode.get(&inode).cloned().unwrap_or_default()
    }
}

/// Each holder once.
pub(super) fn distinct<'a>(holders: impl Iterator<Item = &'a Arc<Identity>>) -> Vec<Arc<Identity>> {
    let mut found: Vec<Arc<Identity>> = Vec::new();
    for holder in holders {
        if !found.iter().any(|known| known.pid == holder.pid) {
            found.push(Arc::clone(holder));
        }
    }
    found
}
