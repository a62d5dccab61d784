//! Names and values of the two maps that are sections of the object.

/// The section that is the map of the watched ports.
pub const PORT_SET: &str = ".bss.port_set";
/// The section that is the map of the ports' indices.
pub const PORT_INDEX: &str = ".bss.port_index";

/// [`PortSet`](monitor_common::ports::PortSet) as a map value.
pub type PortSetWords = [u64; 1024];
/// [`PortIndex`](monitor_common::ports::PortIndex) as a map value.
pub type PortIndices = [u16; 65536];
