//! A row of the table of ports.

use super::{counts::Count, holders};
use crate::api::port::Port;

/// One port with its counters and rates.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) port: Port,
    pub(super) count: Count,
    /// Per second, since the look before; `None` before the second look.
    pub(super) rate: Option<Count>,
}

impl Row {
    /// Whether a text, which is in lower case, is in what is shown of the port.
    pub(super) fn contains(&self, wanted: &str) -> bool {
        let port = &self.port;
        let state = port.state.unwrap_or_default().name();
        let service = port.service.clone().unwrap_or_default().to_lowercase();
        let number = port.port.to_string();
        number.contains(wanted)
            || state.contains(wanted)
            || service.contains(wanted)
            || holders::names(port).to_lowercase().contains(wanted)
    }
}
