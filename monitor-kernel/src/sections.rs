//! Names and values of the maps that are sections of the object.

/// The section that is the map of the watched ports.
pub const PORT_SET: &str = ".bss.port_set";
/// The section that is the map of the ports whose listeners are reported.
pub const LISTENER_PORTS: &str = ".bss.listener_ports";
/// The section that is the map of the ports' indices.
pub const PORT_INDEX: &str = ".bss.port_index";
/// The section that is the map of this host's addresses.
pub const ADDRESSES: &str = ".bss.addresses";

/// The section that is the map of the places in the flat array.
pub const FLAT_PLACES: &str = ".bss.flat_places";
/// The section that is the map of the mark of a selftest.
pub const SELFTEST: &str = ".bss.selftest";
/// The section that is the map of the settings of sampling.
pub const SAMPLING: &str = ".bss.sampling";

/// [`PortSet`](monitor_common::ports::PortSet) as a map value.
pub type PortSetWords = [u64; 1024];
/// [`ListenerPorts`](monitor_common::listeners::ListenerPorts) as a map value.
pub type ListenerWords = [u64; 1025];
/// [`PortIndex`](monitor_common::ports::PortIndex) as a map value.
pub type PortIndices = [u16; 65536];
/// [`Addresses`](monitor_common::addresses::Addresses) as a map value.
pub type AddressWords = [u64; 4097];
/// [`FlatPlaces`](monitor_common::flat::FlatPlaces) as a map value.
pub type FlatWords = [u32; 1026];
/// [`SelftestMark`](monitor_common::selftest::SelftestMark) as a map value.
pub type SelftestWords = [u64; 5];
/// [`SamplingControl`](monitor_common::sampling::SamplingControl) as a map value.
pub type SamplingWords = [u64; 9];
