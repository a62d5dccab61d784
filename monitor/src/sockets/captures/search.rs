//! The listed sockets that take packets of watched ports.

use std::collections::HashMap;

use monitor_kernel::socket_filter::{self, SocketFilter};

use super::{
    capture::{Capture, CaptureKind},
    classic_bpf::Filter,
    list::{ListedCapture, ListedFilter},
    scope::{Offered, Scope},
};
use crate::{
    process::bounded_read,
    sockets::{descriptors::Found, holders::Holders, port_filter::PortFilter},
};

/// Sockets that may take packets of watched ports, each with the inode of its namespace.
pub(in crate::sockets) struct Candidates<'a> {
    listed: Vec<(Option<u32>, ListedCapture)>,
    trials: Trials<'a>,
}

impl<'a> Candidates<'a> {
    /// Leaves out those of `listed` whose filters accept no packet of a watched port.
    pub(in crate::sockets) fn new(
        mut listed: Vec<(Option<u32>, ListedCapture)>,
        watched: &'a PortFilter<'a>,
    ) -> Self {
        let mut trials = Trials { watched, known: HashMap::new() };
        listed.retain(|(_, listed)| trials.scope(listed) != Scope::Nothing);
        Self { listed, trials }
    }

    /// The inodes of the sockets whose holders are searched.
    pub(in crate::sockets) fn inodes(&self) -> impl Iterator<Item = u32> {
        self.listed.iter().map(|(_, listed)| listed.inode).filter(|inode| *inode != 0)
    }

    /// Asks through the descriptors that were found for filters that no list has.
    pub(in crate::sockets) fn ask_holders(&mut self, found: &Found) {
        for (_, listed) in &mut self.listed {
            if !matches!(listed.filter, ListedFilter::NotClassic | ListedFilter::Hidden) {
                continue;
            }
            let mut descriptors = found.by_inode.get(&listed.inode).into_iter().flatten();
            let filter = descriptors.find_map(|descriptor| {
                let number = descriptor.path.strip_prefix("fd/")?.parse().ok()?;
                let pid = descriptor.pid;
                // Waits while the process executes another program.
                bounded_read::memory_of(pid, move || socket_filter::of_process(pid, number)).ok()
            });
            if let Some(filter) = filter {
                listed.filter = filter.into();
            }
        }
    }

    /// Tries the filters, and adds the holders. `are_hidden` is whether some processes could not be
    /// searched.
    pub(in crate::sockets) fn captures(
        mut self,
        holders: &Holders,
        are_hidden: bool,
    ) -> Vec<Capture> {
        let mut captures = Vec::new();
        for (netns_inode, listed) in self.listed {
            let scope = self.trials.scope(&listed);
            if scope == Scope::Nothing {
                continue;
            }
            let ListedCapture { kind, inode, unfiltered, queue, .. } = listed;
            let holders = holders.of(inode);
            let holders_unknown = holders.is_empty() && (inode == 0 || are_hidden);
            captures.push(Capture {
                kind,
                netns_inode,
                inode,
                scope,
                unfiltered,
                queue,
                holders,
                holders_unknown,
            });
        }
        captures.sort_by_key(|capture| (capture.netns_inode, capture.kind, capture.inode));
        captures
    }
}

/// Filters that were tried. Programs that run several times have the same one.
struct Trials<'a> {
    watched: &'a PortFilter<'a>,
    known: HashMap<(Filter, Offered), Scope>,
}

impl Trials<'_> {
    fn scope(&mut self, listed: &ListedCapture) -> Scope {
        match &listed.filter {
            ListedFilter::Classic(filter) => {
                let scope = self.known.entry((filter.clone(), listed.offered));
                scope.or_insert_with_key(|(f, o)| Scope::of(f, *o, self.watched)).clone()
            }
            ListedFilter::NotClassic | ListedFilter::Absent => Scope::Everything,
            // Hardly any raw socket has a filter.
            ListedFilter::Hidden if listed.kind == CaptureKind::RawSocket => Scope::Everything,
            ListedFilter::Ebpf => Scope::Ebpf,
            ListedFilter::Hidden | ListedFilter::Elsewhere => Scope::Unknown,
        }
    }
}

impl From<SocketFilter> for ListedFilter {
    fn from(filter: SocketFilter) -> Self {
        match filter {
            SocketFilter::None => Self::Absent,
            SocketFilter::Ebpf => Self::Ebpf,
            SocketFilter::Classic(bytes) => {
                Filter::from_bytes(&bytes).map_or(Self::Hidden, Self::Classic)
            }
        }
    }
}
