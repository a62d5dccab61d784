//! The interfaces that sockets are bound to.

use std::collections::BTreeMap;

use monitor_kernel::interfaces;

use super::socket::Entry;

/// An interface that a socket may be bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BoundInterface {
    pub(super) name: String,
    /// Whether no packet arrives there from elsewhere, because it is a dummy.
    pub(super) is_dummy: bool,
}

/// The interfaces of the calling thread's namespace by index; none if no socket is bound to one.
pub(super) fn of(entries: &[Entry]) -> BTreeMap<u32, BoundInterface> {
    if entries.iter().all(|entry| entry.interface == 0) {
        return BTreeMap::new();
    }
    let all = interfaces::here().unwrap_or_else(|error| {
        tracing::debug!(%error, "the interfaces of sockets stay unknown");
        BTreeMap::new()
    });
    let bound = all.into_values().map(|interface| {
        let is_dummy = interface.kind.as_deref() == Some("dummy");
        (interface.index, BoundInterface { name: interface.name, is_dummy })
    });
    bound.collect()
}
