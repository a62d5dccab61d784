//! What the pipeline keeps of listeners between two scans.

use std::collections::HashSet;

use monitor_common::ports::PortSet;
use monitor_ledger::listeners::{NewsGroups, Settings};

use crate::{
    config::ListenersConfig,
    event::SeenListener,
    listeners::ListenerChange,
    sockets::{self, OpenListener},
};

/// Calls that wait for a scan at most. Further ones are judged by themselves.
const MAX_CALLS: usize = 4096;

/// What the pipeline keeps of listeners between two scans.
pub(super) struct ListenerWatch {
    /// What the configuration says of them.
    pub(super) config: ListenersConfig,
    /// Ports whose listeners are reported.
    pub(super) ports: PortSet,
    /// News that are to become events.
    pub(super) news: NewsGroups<SeenListener>,
    /// Listeners that were opened since the last scan.
    opened: Vec<ListenerChange>,
    /// Inodes of the listeners for which the last scan found no holder. The holder of one may have ended
    /// during the scan; one that still has none is the kernel's.
    without_holder: HashSet<u32>,
}

impl ListenerWatch {
    pub(super) fn new(config: ListenersConfig) -> Self {
        Self {
            ports: config.watch.ports(),
            config,
            news: NewsGroups::default(),
            opened: Vec::new(),
            without_holder: HashSet::new(),
        }
    }

    /// Follows another configuration.
    pub(super) fn configure(&mut self, config: ListenersConfig) {
        self.ports = config.watch.ports();
        self.config = config;
    }

    /// Whether any port is watched.
    pub(super) fn is_on(&self) -> bool {
        !self.config.watch.is_empty()
    }

    /// The settings of the baseline.
    pub(super) fn settings(&self) -> Settings {
        Settings { learn: self.config.learn, automatic: sockets::automatic_ports() }
    }

    /// Keeps a listener that was opened for the next scan, which shows what became of its process:
    /// a service may give up its privileges after the call. Returns it if there is no room.
    pub(super) fn keep(&mut self, change: ListenerChange) -> Option<ListenerChange> {
        if self.opened.len() >= MAX_CALLS {
            return Some(change);
        }
        self.opened.push(change);
        None
    }

    /// The listeners that were opened before a scan, which began at `scanned_ns`, and that it did not
    /// find.
    pub(super) fn missed(
        &mut self,
        scanned_ns: u64,
        found: &[OpenListener],
    ) -> Vec<ListenerChange> {
        let before = self.opened.extract_if(.., |change| change.boottime_ns <= scanned_ns);
        let key = |found: &OpenListener| (found.socket.netns_inode, found.socket.entry.inode);
        let inodes: HashSet<(Option<u32>, u32)> = found.iter().map(key).collect();
        let ports: HashSet<_> = found
            .iter()
            .map(|found| (found.socket.netns_inode, found.socket.entry.protocol, found.socket.port))
            .collect();
        let is_found = |change: &ListenerChange| {
            let listener = &change.listener;
            match listener.inode {
                Some(inode) => inodes.contains(&(listener.netns_inode, inode.get())),
                None => ports.contains(&(listener.netns_inode, listener.protocol, listener.port)),
            }
        };
        // Of several that are summed up the scan finds those that are still open.
        before.filter(|change| change.count > 1 || !is_found(change)).collect()
    }

    /// Whether the program of a listener can be judged: its holder is known, or it is the kernel's.
    pub(super) fn can_judge(&self, open: &OpenListener, is_learning: bool) -> bool {
        let socket = &open.socket;
        if !socket.holders.is_empty() {
            return true;
        }
        !socket.holders_unknown
            && (is_learning || self.without_holder.contains(&socket.entry.inode))
    }

    /// Ends a scan.
    pub(super) fn end_scan(&mut self, found: &[OpenListener]) {
        let without = found.iter().filter(|open| open.socket.holders.is_empty());
        self.without_holder = without.map(|open| open.socket.entry.inode).collect();
    }
}
