//! Everything that the kernel side has counted, as plain data.

use monitor_common::{
    errors::KernelError,
    flow::{PortCounters, Protocol, UnclassifiedCounters},
    rare::{RareCounters, RareSocketCounters},
    sample::SkipCause,
    socket_event::SocketCounters,
    sources::Sketch,
};

use crate::{
    hooks::{Hook, HookStatus},
    sources::TalkerFacts,
    topology::Role,
};

/// Everything that is read from the kernel for one scrape.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Traffic of every watched port on every counted interface, summed over CPUs.
    pub traffic: Vec<PortTraffic>,
    /// Packets that could not be attributed to a port, for every counted interface.
    pub unclassified: Vec<UnclassifiedTraffic>,
    /// Socket calls on every watched port.
    pub sockets: Vec<PortSockets>,
    /// Traffic of rare protocols, where there was any.
    pub rare_traffic: Vec<PortRareTraffic>,
    /// Socket calls of rare protocols, likewise.
    pub rare_sockets: Vec<PortRareSockets>,
    /// Every hook, per interface where it has one.
    pub hooks: Vec<HookStatus>,
    /// How often hooks were detached behind the agent, in the order of [`Hook::ALL`].
    pub hook_losses: [u64; Hook::ALL.len()],
    /// Failures of the kernel side, indexed by [`KernelError`].
    pub kernel_errors: [u64; KernelError::COUNT],
    /// Socket calls, on any port, for which the kernel skipped the program.
    pub missed_calls: u64,
    /// Remote addresses on every watched port that has a sketch.
    pub sources: Vec<PortSources>,
    /// Samples that the kernel side did not take, indexed by [`SkipCause`].
    pub skipped_samples: [u64; SkipCause::COUNT],
    /// Fill and size of the kernel maps.
    pub maps: Vec<MapUsage>,
    /// Who talks on the ports; read now and then.
    pub remotes: Option<Remotes>,
}

/// Remote addresses on watched ports.
#[derive(Clone, Debug, Default)]
pub struct Remotes {
    /// The table of those with most packets.
    pub talkers: Vec<TalkerFacts>,
    /// Sketches of all of them.
    pub sketches: Vec<PortSketch>,
    /// Events and samples that found a ring buffer full so far.
    pub ring_losses: u64,
}

/// The remote addresses of one port in a window of time.
#[derive(Clone, Debug)]
pub struct PortSketch {
    /// The watched port.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The window, as [`begin_of`](crate::sources::begin_of) takes it.
    pub window: u32,
    /// The addresses.
    pub sketch: Box<Sketch>,
}

/// Traffic of one port on one interface.
#[derive(Clone, Debug)]
pub struct PortTraffic {
    /// Index of the interface.
    pub interface_index: u32,
    /// Name of the interface.
    pub interface: String,
    /// Role of the interface.
    pub role: Role,
    /// The watched port.
    pub port: u16,
    /// Sum over CPUs.
    pub counters: PortCounters,
}

/// Unclassified packets of one interface.
#[derive(Clone, Debug)]
pub struct UnclassifiedTraffic {
    /// Name of the interface.
    pub interface: String,
    /// Role of the interface.
    pub role: Role,
    /// Sum over CPUs.
    pub counters: UnclassifiedCounters,
}

/// Socket calls on one port.
#[derive(Clone, Debug)]
pub struct PortSockets {
    /// The watched port.
    pub port: u16,
    /// Binds, listens and closes.
    pub counters: SocketCounters,
}

/// Traffic of a rare protocol of one port on one interface.
#[derive(Clone, Debug)]
pub struct PortRareTraffic {
    /// Index of the interface.
    pub interface_index: u32,
    /// Name of the interface.
    pub interface: String,
    /// Role of the interface.
    pub role: Role,
    /// The watched port.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// All CPUs.
    pub counters: RareCounters,
}

/// Socket calls of a rare protocol on one port.
#[derive(Clone, Debug)]
pub struct PortRareSockets {
    /// The watched port.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// Binds, listens and closes.
    pub counters: RareSocketCounters,
}

/// Remote addresses on one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortSources {
    /// The watched port.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Different addresses in the last five minutes, an estimate.
    pub addresses: u64,
}

/// Fill and size of one kernel map.
#[derive(Clone, Debug)]
pub struct MapUsage {
    /// Name of the map, as in `bpftool map`.
    pub map: String,
    /// Entries in use.
    pub entries: u64,
    /// Entries that fit.
    pub capacity: u64,
    /// Kernel memory, all CPUs together; bytes.
    pub bytes: u64,
}
