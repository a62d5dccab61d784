//! The key under which flows to watched ports elsewhere are remembered.

use monitor_common::sampling::AddressWords;

/// Both ends of a flow, from this host's.
#[repr(C)]
pub(crate) struct RemoteFlow {
    pub(crate) here: AddressWords,
    pub(crate) there: AddressWords,
    pub(crate) port_here: u16,
    pub(crate) port_there: u16,
    /// Version of IP.
    pub(crate) family: u16,
    /// IP protocol number: TCP, UDP or UDP-Lite.
    pub(crate) protocol: u16,
}
