//! The listed sockets that take packets of watched ports.

use std::collections::HashMap;

use super::{
    capture::Capture,
    classic_bpf::Filter,
    list::{ListedCapture, Takes},
    scope::{Offered, Scope},
};
use crate::sockets::{holders::Holders, port_filter::PortFilter};

/// Sockets that take packets of watched ports, or may take them; their holders are not known yet.
pub(in crate::sockets) struct Candidates(Vec<Capture>);

impl Candidates {
    /// Tries the filters of `listed`, each with the inode of its namespace.
    pub(in crate::sockets) fn new(
        listed: Vec<(Option<u32>, ListedCapture)>,
        watched: &PortFilter<'_>,
    ) -> Self {
        // Programs that run several times have the same filter.
        let mut scopes = HashMap::<(Filter, Offered), Scope>::new();
        let captures = listed.into_iter().filter_map(|(netns_inode, listed)| {
            let ListedCapture { kind, inode, takes } = listed;
            let (scope, unfiltered) = match takes {
                Takes::Filtered(filter, offered) => {
                    let scope = scopes.entry((filter, offered));
                    let scope = scope.or_insert_with_key(|(f, o)| Scope::of(f, *o, watched));
                    (scope.clone(), "")
                }
                Takes::Everything(unfiltered) => (Scope::Everything, unfiltered),
                Takes::Unknown => (Scope::Unknown, ""),
            };
            (scope != Scope::Nothing).then_some(Capture {
                kind,
                netns_inode,
                inode,
                scope,
                unfiltered,
                holders: Vec::new(),
                holders_unknown: true,
            })
        });
        Self(captures.collect())
    }

    /// The inodes of the sockets whose holders are searched.
    pub(in crate::sockets) fn inodes(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|capture| capture.inode).filter(|inode| *inode != 0)
    }

    /// Adds the holders. `are_hidden` is whether some processes could not be searched.
    pub(in crate::sockets) fn with_holders(
        mut self,
        holders: &Holders,
        are_hidden: bool,
    ) -> Vec<Capture> {
        for capture in &mut self.0 {
            capture.holders = holders.of(capture.inode);
            capture.holders_unknown =
                capture.holders.is_empty() && (capture.inode == 0 || are_hidden);
        }
        self.0.sort_by_key(|capture| (capture.netns_inode, capture.kind, capture.inode));
        self.0
    }
}
