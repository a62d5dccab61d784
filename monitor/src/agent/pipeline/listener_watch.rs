//! What the pipeline keeps of listeners between two scans.

use std::collections::HashSet;

use monitor_common::ports::PortSet;
use monitor_ledger::listeners::{NewsGroups, Settings};

use crate::{
    config::ListenersConfig,
    event::SeenListener,
    sockets::{self, OpenListener},
};

/// What the pipeline keeps of listeners between two scans.
pub(super) struct ListenerWatch {
    /// What the configuration says of them.
    pub(super) config: ListenersConfig,
    /// Ports whose listeners are reported.
    pub(super) ports: PortSet,
    /// News that are to become events.
    pub(super) news: NewsGroups<SeenListener>,
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

    /// Whether the program of a listener can be judged: its holder is known, or it is the kernel's.
    pub(super) fn can_judge(&self, open: &OpenListener, is_learning: bool) -> bool {
        let socket = &open.socket;
        if !socket.holders.is_empty() {
            return true;
        }
        !socket.holders_unknown
            && (is_learning || self.without_holder.contains(&socket.entry.inode))
    }

    /// Ends a scan that began at `began_ns`, `CLOCK_BOOTTIME`.
    pub(super) fn end_scan(&mut self, began_ns: u64, found: &[OpenListener]) {
        self.news.end_scan(began_ns);
        let without = found.iter().filter(|open| open.socket.holders.is_empty());
        self.without_holder = without.map(|open| open.socket.entry.inode).collect();
    }
}
