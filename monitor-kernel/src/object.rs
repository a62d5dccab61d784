//! The embedded BPF object: loaded once, with the running kernel's offsets injected and its maps
//! taken from where an earlier agent pinned them.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfError, EbpfLoader, VerifierLogLevel,
    maps::{Array, Map, MapData},
};
use monitor_common::{
    flat::FlatPlaces,
    offsets::Offsets,
    ports::{PortIndex, PortSet},
    sources::{sketch_count, talker_set_count},
};

use super::{
    flat::{FLAT_COUNTERS, FlatSize},
    pins::{PinDir, Pins},
    sections::{
        ADDRESSES, AddressWords, FLAT_PLACES, FlatWords, LISTENER_PORTS, ListenerWords, PORT_INDEX,
        PORT_SET, PortIndices, PortSetWords, SAMPLING, SELFTEST, SamplingWords,
    },
};

/// The programs and maps of monitor-ebpf.
pub(crate) static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("GHOSTPORT_OBJECT"));

/// Increased when records or maps change so that the pins of an older agent no longer fit.
const LAYOUT_VERSION: u32 = 11;

/// Bytes of the ring buffer of diagnostics, which are few; the default of the library is 128 KiB.
const LOG_RING_BYTES: u32 = 8 * 1024;

/// Maps that programs share, and that are pinned for the next agent.
const SHARED_MAPS: [&str; 28] = [
    PORT_SET,
    LISTENER_PORTS,
    PORT_INDEX,
    ADDRESSES,
    FLAT_PLACES,
    SELFTEST,
    FLAT_COUNTERS,
    "LOCAL_PREFIXES",
    "REMOTE_FLOWS",
    "OUTBOUND",
    "COUNTERS",
    "NEAR_COUNTERS",
    "SOCKET_COUNTERS",
    "RARE_TRAFFIC",
    "RARE_SOCKETS",
    "EVENTS",
    "CALL_SUMS",
    "USER_CALL_SUMS",
    "AUTOMATIC_BINDS",
    "ERRORS",
    "AYA_LOGS",
    SAMPLING,
    "SAMPLES",
    "CONVERSATIONS",
    "RECENT_SOURCES",
    "SKIPPED_SAMPLES",
    "SOURCES",
    "TALKERS",
];

/// Those of them that say which port and interface has which slot, or that hold the slots.
const SLOT_MAPS: [&str; 7] = [
    PORT_SET,
    PORT_INDEX,
    FLAT_PLACES,
    FLAT_COUNTERS,
    "COUNTERS",
    "NEAR_COUNTERS",
    "SOCKET_COUNTERS",
];

/// A map that is pinned for the next agent.
pub(crate) struct SharedMap {
    pub(crate) name: &'static str,
    /// Name of its pin.
    pub(crate) pin: String,
    pub(crate) definition: aya_obj::Map,
    /// Whether counters mean nothing without it.
    pub(crate) has_slots: bool,
}

/// The maps that are pinned, as the object defines them.
pub(crate) fn shared_maps() -> Result<Vec<SharedMap>, aya_obj::ParseError> {
    let mut object = aya_obj::Object::parse(OBJECT)?;
    let map = |name: &'static str| {
        Some(SharedMap {
            name,
            pin: pin_name(name),
            definition: object.maps.remove(name)?,
            has_slots: SLOT_MAPS.contains(&name),
        })
    };
    Ok(SHARED_MAPS.into_iter().filter_map(map).collect())
}

/// Settings that are fixed when the object is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Number of possible CPUs.
    pub cpus: u32,
    /// Offsets in kernel structs.
    pub offsets: Offsets,
    /// Whether the caller's command line is captured.
    pub command_lines: bool,
    /// Size of the flat array of counters, unless an earlier agent left one.
    pub flat: FlatSize,
    /// Whether a program can be interrupted by another one on its CPU.
    pub preemptible: bool,
    /// Port indices that have sketches of their remote addresses.
    pub sketched_ports: u32,
    /// Verbosity of the kernel side; diagnostics below it cost nothing.
    pub log_level: KernelLogLevel,
}

/// Verbosity of the kernel side's diagnostics, as aya-log numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum KernelLogLevel {
    /// No diagnostics.
    Off = 0,
    /// Failures.
    Warn = 2,
    /// Every socket call on a watched port.
    Debug = 4,
}

impl Settings {
    /// Identity of the maps: agents with the same one can use each other's.
    pub fn layout(&self, netns_inode: u64) -> String {
        format!("{LAYOUT_VERSION}:{}:{netns_inode}", self.cpus)
    }

    /// Identity of the programs, apart from their verbosity.
    pub fn object(&self) -> String {
        let mut hasher = DefaultHasher::new();
        OBJECT.hash(&mut hasher);
        bytemuck::bytes_of(&self.offsets).hash(&mut hasher);
        self.command_lines.hash(&mut hasher);
        self.preemptible.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}

/// The tables that an earlier agent left. Loading writes the initial value of a section into its map,
/// even if the map is pinned and in use; so the initial value has to be the present one.
#[derive(Default)]
struct PinnedTables {
    port_set: Option<PortSet>,
    listener_ports: Option<Box<ListenerWords>>,
    port_index: Option<Box<PortIndex>>,
    addresses: Option<Box<AddressWords>>,
    flat: Option<Box<FlatWords>>,
    sampling: Option<SamplingWords>,
}

impl PinnedTables {
    fn read(pins: &Pins) -> Self {
        let path = |map| pins.path(PinDir::Maps, &pin_name(map));
        let port_set = pinned_value::<PortSetWords>(&path(PORT_SET));
        let port_index = pinned_value::<PortIndices>(&path(PORT_INDEX));
        Self {
            port_set: port_set.map(bytemuck::cast),
            listener_ports: pinned_value::<ListenerWords>(&path(LISTENER_PORTS)).map(Box::new),
            port_index: port_index.map(|index| bytemuck::cast_box(Box::new(index))),
            addresses: pinned_value::<AddressWords>(&path(ADDRESSES)).map(Box::new),
            flat: pinned_value::<FlatWords>(&path(FLAT_PLACES)).map(Box::new),
            sampling: pinned_value::<SamplingWords>(&path(SAMPLING)),
        }
    }

    /// Has the loader start with them.
    fn keep<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        if let Some(set) = &self.port_set {
            loader.override_global("PORT_SET", bytemuck::bytes_of(set), true);
        }
        if let Some(ports) = &self.listener_ports {
            loader.override_global("LISTENER_PORTS", bytemuck::bytes_of(&**ports), true);
        }
        if let Some(index) = &self.port_index {
            loader.override_global("PORT_INDEX", bytemuck::bytes_of(&**index), true);
        }
        if let Some(addresses) = &self.addresses {
            loader.override_global("ADDRESSES", bytemuck::bytes_of(&**addresses), true);
        }
        if let Some(flat) = &self.flat {
            loader.override_global("FLAT_PLACES", bytemuck::bytes_of(&**flat), true);
        }
        if let Some(sampling) = &self.sampling {
            loader.override_global("SAMPLING", bytemuck::bytes_of(sampling), true);
        }
    }
}

fn pinned_value<T: aya::Pod>(path: &Path) -> Option<T> {
    let map = Map::Array(MapData::from_pin(path).ok()?);
    Array::try_from(map).ok()?.get(&0, 0).ok()
}

/// A BPF filesystem takes no names with dots.
fn pin_name(map: &str) -> String {
    map.trim_start_matches(".bss.").to_ascii_uppercase()
}

/// A loader for [`load`]. Creating it parses the kernel's BTF, which takes time.
pub fn loader() -> EbpfLoader<'static> {
    let mut loader = EbpfLoader::new();
    // This level adds the line that says why a program was refused. With level 0, aya's second attempt
    // fails because of the level itself and hides the reason.
    loader.btf(None).verifier_log_level(VerifierLogLevel::STATS);
    loader
}

/// Loads the maps of the object into the kernel; programs follow when they are attached.
pub fn load(
    loader: EbpfLoader<'static>,
    settings: &Settings,
    pins: Option<&Pins>,
) -> Result<Ebpf, EbpfError> {
    // A shorter lifetime, for the settings that it borrows.
    let mut loader: EbpfLoader<'_> = loader;
    let offsets = bytemuck::bytes_of(&settings.offsets);
    let command_lines = u8::from(settings.command_lines);
    let log_level = settings.log_level as u8;
    let paths: Vec<PathBuf> = pins
        .map(|pins| {
            SHARED_MAPS.iter().map(|name| pins.path(PinDir::Maps, &pin_name(name))).collect()
        })
        .unwrap_or_default();
    let tables = pins.map(PinnedTables::read).unwrap_or_default();
    let places = FlatPlaces { stride: settings.flat.stride(), ..FlatPlaces::EMPTY };
    let preemptible = u8::from(settings.preemptible);
    loader
        .override_global("CPUS", &settings.cpus, true)
        .override_global("PREEMPTIBLE", &preemptible, true)
        .override_global("FLAT_PLACES", bytemuck::bytes_of(&places), true)
        .override_global("OFFSETS", offsets, true)
        .override_global("COMMAND_LINES", &command_lines, true)
        .override_global(aya_log::LEVEL, &log_level, true);
    loader
        .map_max_entries("AYA_LOGS", LOG_RING_BYTES)
        .map_max_entries("SKIPPED_SAMPLES", settings.cpus)
        .map_max_entries("TALKERS", talker_set_count(settings.cpus))
        .map_max_entries(FLAT_COUNTERS, settings.flat.slots())
        .map_max_entries("SOURCES", sketch_count(settings.sketched_ports));
    tables.keep(&mut loader);
    for (name, path) in SHARED_MAPS.iter().zip(&paths) {
        loader.map_pin_path(name, path.as_path());
    }
    loader.load(OBJECT)
}
