//! What the pipeline does with listeners that are opened and closed.

use super::Worker;
use crate::listeners::ListenerChange;

impl Worker {
    /// Takes a listener that was opened or closed. Several that are summed up are one change, of which
    /// only the first listener is known.
    pub(super) fn listener_changed(&self, change: &ListenerChange) {
        tracing::debug!(
            turn = ?change.turn,
            protocol = change.listener.protocol.name(),
            address = ?change.listener.local(),
            port = change.listener.port,
            count = change.count,
            pid = change.caller.as_ref().map(|caller| caller.pid),
            mechanism = change.mechanism.name(),
            "listener changed"
        );
    }
}
