//! The key under which UDP flows to watched ports elsewhere are remembered.

use monitor_common::sampling::AddressWords;

/// Both ends of a flow, from this host's.
#[repr(C)]
pub(crate) struct DatagramFlow {
    pub(crate) here: AddressWords,
    pub(crate) there: AddressWords,
    pub(crate) port_here: u16,
    pub(crate) port_there: u16,
    pub(crate) family: u32,
}
