//! The hooks of an agent, as its pins show them to another process.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{
    bpffs::names_in,
    clsact::Filter,
    hooks::{Hook, HookMechanism, HookStatus},
    interfaces::Interface,
    links::{self, LinkName},
    netlink::Socket,
    pins::PinDir,
    sys,
};

/// The pins of links, and the markers of filters.
pub(super) struct Pinned {
    folder: PathBuf,
    links: Vec<LinkName>,
    filters: Vec<Filter>,
}

impl Pinned {
    /// Those below `root`; none where this process may not list them.
    pub(super) fn read(root: &Path) -> Self {
        let folder = root.join(PinDir::Links.name());
        let links = names_in(&folder);
        let filters = names_in(&root.join(PinDir::Filters.name()));
        Self {
            links: links.iter().filter_map(|pin| LinkName::parse(pin)).collect(),
            filters: filters.iter().filter_map(|marker| Filter::parse(marker)).collect(),
            folder,
        }
    }

    /// Ids of the programs of each hook, with the index of its interface or 0.
    pub(super) fn programs(&self) -> BTreeMap<(Hook, u32), BTreeSet<u32>> {
        let mut programs = BTreeMap::<_, BTreeSet<u32>>::new();
        for link in &self.links {
            if let Ok(facts) = sys::link_facts(&self.folder.join(link.pin())) {
                programs.entry((link.hook, link.ifindex)).or_default().insert(facts.program);
            }
        }
        for filter in &self.filters {
            let program = Socket::open(None).and_then(|mut socket| filter.program(&mut socket));
            if let Ok(program) = program {
                programs.entry((filter.hook, filter.ifindex)).or_default().insert(program);
            }
        }
        programs
    }

    /// The status of a hook, which says so if the kernel has not attached it any more.
    pub(super) fn checked(&self, ifindex: u32, status: &HookStatus) -> HookStatus {
        let is_lost =
            |mechanism: &HookMechanism| !self.is_attached(status.hook, ifindex, *mechanism);
        match status.attached.filter(is_lost) {
            None => status.clone(),
            Some(mechanism) => status.detached(mechanism),
        }
    }

    /// Whether the kernel has the links or the filter of a hook.
    fn is_attached(&self, hook: Hook, ifindex: u32, mechanism: HookMechanism) -> bool {
        if mechanism == HookMechanism::Clsact {
            let Some(filter) = self.filter(hook, ifindex) else { return false };
            let asked = Socket::open(None).and_then(|mut socket| filter.is_attached(&mut socket));
            return asked.unwrap_or(true);
        }
        let mut links = self.links(hook, ifindex).peekable();
        if links.peek().is_none() {
            // Before Linux 5.15 the agent holds perf events, which have no pins.
            return matches!(mechanism, HookMechanism::Kprobe | HookMechanism::Tracepoint);
        }
        links.all(|link| links::is_attached(&self.folder.join(link.pin()), link))
    }

    /// The hooks of sockets and of these interfaces, attached or not.
    pub(super) fn hooks(&self, interfaces: &[Interface]) -> Vec<HookStatus> {
        let mechanism = |hook: Hook, ifindex: u32| {
            let of_filter = || self.filter(hook, ifindex).map(|_| HookMechanism::Clsact);
            self.links(hook, ifindex).next().map(|link| link.mechanism).or_else(of_filter)
        };
        let status = |hook: Hook, interface: Option<&Interface>| HookStatus {
            hook,
            interface: interface.map(|interface| interface.name.clone()),
            attached: mechanism(hook, interface.map_or(0, |interface| interface.index)),
            adopted: false,
            rejected: Vec::new(),
        };
        let traffic = interfaces
            .iter()
            .flat_map(|interface| Hook::OF_TRAFFIC.map(|hook| status(hook, Some(interface))));
        traffic.chain(Hook::OF_SOCKETS.map(|hook| status(hook, None))).collect()
    }

    fn links(&self, hook: Hook, ifindex: u32) -> impl Iterator<Item = &LinkName> {
        self.links.iter().filter(move |link| link.serves(hook, ifindex))
    }

    fn filter(&self, hook: Hook, ifindex: u32) -> Option<&Filter> {
        self.filters.iter().find(|filter| filter.serves(hook, ifindex))
    }
}
