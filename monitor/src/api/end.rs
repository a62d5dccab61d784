//! What is at the end of a way to a port, in words.

use std::sync::Arc;

use super::socket::Holder;
use crate::{process::Identity, sockets::Place};

/// Digits of a container's id in a sentence.
const SHORT_ID: usize = 12;

/// Where a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetScope {
    /// In the network namespace of the port.
    Host,
    /// In another one of this host.
    Namespace,
    /// On another host.
    Elsewhere,
}

/// What is at the end of a way.
pub(super) struct End<'a> {
    pub(super) scope: Option<TargetScope>,
    pub(super) pod: Option<&'a str>,
    pub(super) holders: &'a Option<Vec<Arc<Holder>>>,
}

impl End<'_> {
    /// The pod, container or unit, or that there is none to name.
    pub(super) fn place(&self) -> Option<String> {
        match self.scope {
            Some(TargetScope::Elsewhere) => return Some("another host".to_owned()),
            None if self.holders.is_none() => return None,
            _ => {}
        }
        if let Some(pod) = self.pod {
            return Some(format!("pod {pod}"));
        }
        let holder = self.holders.iter().flatten().next();
        let Some(holder) = holder else { return Some("no process is known there".to_owned()) };
        let container = holder
            .container_id
            .as_ref()
            .map(|id| format!("container {}", id.chars().take(SHORT_ID).collect::<String>()));
        container.or_else(|| holder.systemd_unit.clone())
    }

    /// The names of the programs.
    pub(super) fn programs(&self) -> Option<String> {
        let mut names = Vec::new();
        for holder in self.holders.iter().flatten() {
            let name = holder.name.clone().unwrap_or_else(|| format!("process {}", holder.pid));
            if !names.contains(&name) {
                names.push(name);
            }
        }
        (!names.is_empty()).then(|| names.join(", "))
    }
}

/// Where a target is, and the inode of its namespace, if it is known; `here` is that of the way.
pub(super) const fn place(place: Place, here: Option<u32>) -> (Option<TargetScope>, Option<u32>) {
    match place {
        Place::Here => (Some(TargetScope::Host), here),
        Place::Namespace { netns_inode } => (Some(TargetScope::Namespace), Some(netns_inode)),
        Place::Elsewhere => (Some(TargetScope::Elsewhere), None),
        Place::Unknown => (None, None),
    }
}

/// `None` if there are none.
pub(super) fn holders(holders: &[Arc<Identity>]) -> Option<Vec<Arc<Holder>>> {
    let found = holders.iter().map(|holder| Arc::new(Holder::from(&**holder)));
    (!holders.is_empty()).then(|| found.collect())
}
