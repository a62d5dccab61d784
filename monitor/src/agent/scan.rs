//! A finished scan of sockets.

use std::sync::Arc;

use monitor_common::flow::Protocol;
use monitor_ledger::ClockReading;

use crate::sockets::{Capture, Listeners, PortReach, Socket};

/// What a scan found.
#[derive(Debug)]
pub struct Scan {
    /// When it began.
    pub at: ClockReading,
    /// The sockets on watched ports, by port.
    pub sockets: Arc<[Socket]>,
    /// Every listener of the host; `None` while they are not watched.
    pub listeners: Option<Listeners>,
    /// Sockets that take packets of watched ports without holding them.
    pub captures: Arc<[Capture]>,
    /// How packets are led past sockets to the ports that are suspected of it.
    pub reaches: Vec<PortReach>,
    /// Suspected answers that are explained otherwise: datagrams of a client of this host, or of
    /// others behind it.
    pub dismissed: Vec<(u16, Protocol)>,
}
