//! What is at the end of a way to a port, in words.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{named, socket::Holder};
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct End {
    /// Address and port, `:8080` where the address is not known or is this host's; absent where the
    /// target cannot be found out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<String>,
    /// Where the target is.
    #[schemars(with = "Option<String>")]
    #[serde(with = "named::option", skip_serializing_if = "Option::is_none", default)]
    pub target_scope: Option<TargetScope>,
    /// Inode of the network namespace of the target.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target_netns_inode: Option<u32>,
    /// The pod of the first holder: its name, or its uid.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pod: Option<String>,
    /// The processes at the target; absent where they cannot be found.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub holders: Option<Vec<Arc<Holder>>>,
}

impl End {
    /// The end of a way that begins in the network namespace `here`.
    pub(super) fn new(
        target: Option<&String>,
        (place, here): (Place, Option<u32>),
        pod: Option<&String>,
        holders: &[Arc<Identity>],
    ) -> Self {
        let (target_scope, target_netns_inode) = scope(place, here);
        let found = holders.iter().map(|holder| Arc::new(Holder::from(&**holder)));
        Self {
            target: target.cloned(),
            target_scope,
            target_netns_inode,
            pod: pod.cloned(),
            holders: (!holders.is_empty()).then(|| found.collect()),
        }
    }

    /// What a sentence about the way has in brackets: the end, and a last word.
    pub(super) fn details(&self, last: String) -> String {
        let details = [self.place(), self.programs(), Some(last)];
        details.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// The pod, container or unit, or that there is none to name.
    fn place(&self) -> Option<String> {
        match self.target_scope {
            Some(TargetScope::Elsewhere) => return Some("another host".to_owned()),
            None if self.holders.is_none() => return None,
            _ => {}
        }
        if let Some(pod) = &self.pod {
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
    fn programs(&self) -> Option<String> {
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
const fn scope(place: Place, here: Option<u32>) -> (Option<TargetScope>, Option<u32>) {
    match place {
        Place::Here => (Some(TargetScope::Host), here),
        Place::Namespace { netns_inode } => (Some(TargetScope::Namespace), Some(netns_inode)),
        Place::Elsewhere => (Some(TargetScope::Elsewhere), None),
        Place::Unknown => (None, None),
    }
}
