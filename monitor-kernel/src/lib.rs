//! The kernel side as the agent sees it, and the only user of aya.
//!
//! [`Kernel`] owns the maps, the hooks and the pins. Nothing outside this module knows what a map
//! or a link is.

pub mod attach;
mod btf;
pub mod capabilities;
pub mod clock;
mod clsact;
mod counters;
pub mod driver;
pub mod events;
mod holders;
pub mod hooks;
pub mod interfaces;
pub mod ladder;
pub mod limits;
mod links;
pub mod local_addresses;
pub mod lockdown;
mod log;
mod mapped;
pub mod mechanism;
pub mod memory;
mod object;
mod ownership;
pub mod pins;
pub mod record;
mod ring;
pub mod samples;
mod sampling;
pub mod snapshot;
pub mod sources;
pub mod sys;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tracefs;
pub mod trial;
mod verdict;
pub mod wait;

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::{fs::MetadataExt as _, net::UnixDatagram},
    path::Path,
    thread,
};

use anyhow::{Context as _, Result};
use aya::{Ebpf, EbpfLoader};
use monitor_common::{flow::LOOPBACK, offsets::Offsets};

use self::{
    attach::Attacher,
    counters::Counters,
    events::Events,
    hooks::{Hook, HookMechanism, HookStatus},
    interfaces::{Interface, Interfaces},
    object::Settings,
    pins::{Pins, PinsError, Room},
    record::Record,
    samples::Samples,
    sampling::Sampling,
};
pub use self::{btf::KernelTypes, holders::OpenSockets, log::KernelLog, object::KernelLogLevel};
use crate::{
    mechanism::{BindMechanism, InterfaceMode},
    snapshot::{MapUsage, PortSources, Snapshot},
    sources::TalkerFacts,
};

/// The marker of the counters' epoch; the name is part of the layout of the pins.
const EPOCH: &str = "life";

/// The kernel side.
pub struct Kernel {
    pins: Option<Pins>,
    lock_without_pins: Option<UnixDatagram>,
    counters: Counters,
    sampling: Sampling,
    attacher: Attacher,
    /// Tells this set of counters from others, and whether an earlier agent made it.
    counters_id: String,
    counters_adopted: bool,
    /// Whether what becomes of the hooks is written down.
    is_recorded: bool,
}

/// What is fixed while the kernel side is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether the caller's command line is taken along.
    pub command_lines: bool,
    /// How many ports are watched at first; more may follow.
    pub ports: usize,
    /// Verbosity of the kernel side.
    pub log_level: KernelLogLevel,
}

impl Options {
    /// For a trial: everything, and quietly.
    pub const TRIAL: Self = Self { command_lines: true, ports: 0, log_level: KernelLogLevel::Off };
}

/// What comes out of the kernel side by itself.
pub struct Streams {
    /// Socket calls.
    pub events: Events,
    /// First payloads and connection attempts.
    pub samples: Samples,
    /// Diagnostics.
    pub log: KernelLog,
}

/// Why an agent cannot start on this kernel.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another one runs.
    #[error("{0}: stop it first, or use its metrics")]
    Locked(PinsError),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl Kernel {
    /// Loads the kernel side, or takes over what an earlier agent left of it.
    pub fn start(options: Options) -> Result<(Self, Streams), StartError> {
        let (mut kernel, streams) = match Pins::open(Path::new(pins::ROOT)) {
            Ok(pins) => Self::load(Some(pins), options)?,
            Err(error @ PinsError::Locked { .. }) => return Err(StartError::Locked(error)),
            Err(error) => {
                tracing::warn!(%error, "nothing is pinned: counters and hooks end with this agent");
                let lock = pins::lock_without_pins().map_err(StartError::Locked)?;
                let (mut kernel, streams) = Self::load(None, options)?;
                kernel.lock_without_pins = Some(lock);
                (kernel, streams)
            }
        };
        kernel.is_recorded = true;
        Ok((kernel, streams))
    }

    /// Loads the kernel side for a trial: nothing of it outlives the process.
    pub fn start_unpinned(options: Options) -> Result<(Self, Streams)> {
        Self::load(None, options)
    }

    fn load(pins: Option<Pins>, options: Options) -> Result<(Self, Streams)> {
        limits::lift();
        let (types, loader) = read_types();
        if !types.missing.is_empty() {
            tracing::warn!(missing = ?types.missing, "fields of kernel structs are unknown");
        }
        let cpus = aya::util::nr_cpus().map_err(|(file, error)| {
            anyhow::anyhow!(error).context(format!("cannot read {file}"))
        })?;
        let mut settings = Settings {
            cpus: cpus as u32,
            offsets: types.offsets,
            command_lines: options.command_lines,
            sketched_ports: sampling::sketched_ports(options.ports),
            log_level: options.log_level,
        };
        let mut object = load_object(loader, &settings, pins.as_ref())?;
        let obstacle = attach::obstacle_to_reading(&mut object, &types);
        if let Some(why) = &obstacle {
            tracing::warn!(why, "binds are seen by what their hooks tell, refusals not at all");
            // Programs that know of no offset do without kernel memory, and may be loaded.
            settings.offsets = Offsets::MISSING;
            object = load_object(object::loader(), &settings, pins.as_ref())?;
        }
        let (counters_id, counters_adopted) = counter_epoch(pins.as_ref())?;
        let streams = Streams {
            events: Events::open(&object).context("cannot read the event ring")?,
            samples: Samples::open(&object).context("cannot read the sample ring")?,
            log: KernelLog::open(&mut object)?,
        };
        let counters = Counters::open(&mut object, settings.cpus, pins.as_ref())?;
        let sampling = Sampling::open(&mut object, settings.cpus)?;
        let attacher = Attacher::new(object, obstacle, types, pins.as_ref());
        let kernel = Self {
            pins,
            lock_without_pins: None,
            counters,
            sampling,
            attacher,
            counters_id,
            counters_adopted,
            is_recorded: false,
        };
        Ok((kernel, streams))
    }

    /// Makes room for the counts of `ports` on every interface that has counters, and on
    /// `interfaces`. What is watched stays as it is. Fails where the kernel grants no memory, no
    /// descriptor or no pin.
    pub fn make_room(
        &mut self,
        ports: &BTreeSet<u16>,
        interfaces: &BTreeMap<u32, Interface>,
    ) -> Result<()> {
        let interfaces = interfaces.values().map(|each| (each.index, each.name.as_str()));
        Ok(self.counters.make_room(ports, interfaces, self.pins.as_ref())?)
    }

    /// Sets the watched ports. An error leaves those before in force.
    pub fn watch(&mut self, ports: &BTreeSet<u16>) -> Result<()> {
        Ok(self.counters.watch(ports, self.pins.as_ref())?)
    }

    /// Attaches the socket hooks.
    pub fn attach_sockets(&mut self, mechanism: BindMechanism) -> Vec<HookStatus> {
        let changes = self.attacher.attach_sockets(mechanism, self.pins.as_ref());
        self.write_record();
        changes
    }

    /// Begins a look at who holds sockets on watched ports; the socket hooks are attached by then.
    pub fn open_sockets(&mut self) -> Result<OpenSockets> {
        self.attacher.open_sockets()
    }

    /// Why nothing comes of [`Self::open_sockets`], if so: `/proc` says who holds a socket then.
    pub fn holders_obstacle(&self) -> Option<&str> {
        self.attacher.holders_obstacle()
    }

    /// Brings the traffic hooks in line with the interfaces that are there: attaches to those that are
    /// `wanted`, detaches from all others. Returns what changed.
    pub fn reconcile(
        &mut self,
        wanted: &BTreeMap<u32, Interface>,
        interfaces: &BTreeMap<u32, Interface>,
        mode: InterfaceMode,
    ) -> Vec<HookStatus> {
        let mut changes = Vec::new();
        for interface in wanted.values() {
            let pins = self.pins.as_ref();
            if let Err(error) = self.counters.add_interface(interface.index, &interface.name, pins)
            {
                tracing::error!(%error, interface = interface.name, "no counters");
                continue;
            }
            changes.extend(self.attacher.attach_traffic(interface, mode, pins));
        }
        let mut present: BTreeSet<u32> = self.counters.interfaces().collect();
        present.extend(self.attacher.interfaces());
        for ifindex in present.into_iter().filter(|ifindex| !wanted.contains_key(ifindex)) {
            let name = interfaces.get(&ifindex).map(|interface| interface.name.as_str());
            match self.drop_interface(ifindex, name) {
                Ok(detached) => changes.extend(detached),
                Err(error) => tracing::error!(%error, ifindex, "cannot detach"),
            }
        }
        if !changes.is_empty() {
            self.write_record();
        }
        changes
    }

    fn write_record(&self) {
        if !self.is_recorded {
            return;
        }
        if let Err(error) = self.attacher.record().write(Path::new(record::FOLDER)) {
            tracing::warn!(
                %error, folder = record::FOLDER,
                "doctor and the next agent will not know why better mechanisms were passed over"
            );
        }
    }

    fn drop_interface(&mut self, ifindex: u32, name: Option<&str>) -> Result<Vec<HookStatus>> {
        let changes = self.attacher.detach_interface(ifindex, name, self.pins.as_ref())?;
        self.counters.remove_interface(ifindex, self.pins.as_ref())?;
        Ok(changes)
    }

    /// Interfaces whose clsact qdisc we made and use no more.
    pub fn idle_qdiscs(&self) -> Vec<u32> {
        self.pins.as_ref().map(clsact::idle_qdiscs).unwrap_or_default()
    }

    /// Forgets that we made the clsact qdisc of an interface.
    pub fn forget_qdisc(&self, ifindex: u32) -> Result<()> {
        self.pins.as_ref().map_or(Ok(()), |pins| clsact::forget_qdisc(pins, ifindex))
    }

    /// Tries the traffic hooks on the loopback interface of this thread's network namespace.
    pub fn attach_loopback(&mut self, mode: InterfaceMode) -> Result<Vec<HookStatus>> {
        let loopback = Interface {
            index: LOOPBACK,
            name: "lo".to_owned(),
            mtu: 65536,
            link: interfaces::Link::Ethernet,
        };
        self.counters.add_interface(loopback.index, &loopback.name, self.pins.as_ref())?;
        Ok(self.attacher.attach_traffic(&loopback, mode, self.pins.as_ref()))
    }

    /// Loads the traffic programs, and attaches them to nothing.
    pub fn load_traffic(&mut self, mode: InterfaceMode) -> Vec<HookStatus> {
        self.attacher.load_traffic(mode)
    }

    /// Attaches a traffic hook by one mechanism and no other.
    pub fn attach_by(
        &mut self,
        hook: Hook,
        mechanism: HookMechanism,
        interface: &Interface,
    ) -> Result<()> {
        let pins = self.pins.as_ref();
        self.counters.add_interface(interface.index, &interface.name, pins)?;
        self.attacher.attach_traffic_by(hook, mechanism, interface, pins)
    }

    /// Makes the counters that these interfaces would take.
    pub fn make_room_for(&mut self, interfaces: &[Interface]) -> Result<()> {
        for interface in interfaces {
            self.counters.add_interface(interface.index, &interface.name, self.pins.as_ref())?;
        }
        Ok(())
    }

    /// Every hook and what became of it.
    pub fn hooks(&self) -> Vec<HookStatus> {
        self.attacher.statuses()
    }

    /// Differs between any two sets of counters: another one starts from zero.
    pub fn counters_id(&self) -> &str {
        &self.counters_id
    }

    /// Whether an earlier agent made the counters, so that they count what happened without one.
    pub const fn counters_adopted(&self) -> bool {
        self.counters_adopted
    }

    /// Keeps time for what the kernel side remembers of remote addresses, and lets it take the
    /// samples of another second, or none.
    pub fn renew_sampling(&mut self, captures: bool) -> Result<()> {
        Ok(self.sampling.renew(captures)?)
    }

    /// The most talkative remote addresses of all watched ports, most packets first.
    pub fn talkers(&self) -> Result<Vec<TalkerFacts>> {
        Ok(self.sampling.talkers()?)
    }

    /// How many remote addresses each watched port has seen, of those that have sketches.
    pub fn sources(&self) -> Result<Vec<PortSources>> {
        Ok(self.sampling.sources(self.counters.watched_indices())?)
    }

    /// The counters of the ports alone.
    pub fn port_counters(&self) -> Snapshot {
        Snapshot {
            traffic: self.counters.traffic(),
            sockets: self.counters.sockets(),
            ..Snapshot::default()
        }
    }

    /// Everything there is to know for a scrape.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot {
            traffic: self.counters.traffic(),
            unclassified: self.counters.unclassified(),
            sockets: self.counters.sockets(),
            hooks: self.attacher.statuses(),
            kernel_errors: self.counters.kernel_errors()?,
            missed_calls: self.attacher.missed_calls(),
            sources: self.sources()?,
            skipped_samples: self.sampling.skipped()?,
            maps: self.maps(),
        })
    }

    /// Fill and size of the maps.
    pub fn maps(&self) -> Vec<MapUsage> {
        self.counters.usage()
    }

    /// Takes down every hook; the maps stay pinned, and the counts with them.
    pub fn detach_hooks(&mut self, interfaces: &BTreeMap<u32, Interface>) -> Result<()> {
        // Hooks that stay would be worse than notes that nobody reads.
        if let Err(error) = self.sampling.end() {
            tracing::warn!(%error, "the kernel side is not told that nobody listens");
        }
        self.attacher.detach_sockets(self.pins.as_ref())?;
        for ifindex in self.attacher.interfaces() {
            let name = interfaces.get(&ifindex).map(|interface| interface.name.as_str());
            self.attacher.detach_interface(ifindex, name, self.pins.as_ref())?;
        }
        if self.is_recorded
            && let Err(error) = Record::remove(Path::new(record::FOLDER))
        {
            tracing::debug!(%error, "the record of the hooks stays");
        }
        Ok(())
    }

    /// Offsets in kernel structs that could not be had, as `struct.member`.
    pub fn missing_offsets(&self) -> &[String] {
        self.attacher.missing_offsets()
    }
}

/// Removes every hook, map and pin of ghostport from the kernel. Returns whether there were any.
pub async fn detach_everything(netlink: &Interfaces) -> Result<bool> {
    let pins = Pins::open_existing(Path::new(pins::ROOT)).map_err(|error| match error {
        PinsError::Locked { .. } => anyhow::anyhow!("{error}: stop it first"),
        PinsError::Unusable { path, .. } if !rustix::process::geteuid().is_root() => {
            let whose = "is not for this user to remove: run it as root, or as the agent's user";
            anyhow::anyhow!("{} {whose}", path.display())
        }
        PinsError::Unusable { .. } => error.into(),
    })?;
    let Some(pins) = pins else { return Ok(false) };
    let interfaces = netlink.list().await?;
    detach_filters(&pins, &interfaces)?;
    links::remove_all(&pins)?;
    for ifindex in clsact::idle_qdiscs(&pins) {
        netlink.remove_empty_clsact(ifindex).await;
    }
    pins.remove_all()?;
    Record::remove(Path::new(record::FOLDER))?;
    Ok(true)
}

fn detach_filters(pins: &Pins, interfaces: &BTreeMap<u32, Interface>) -> Result<()> {
    for filter in clsact::filters(pins) {
        let name = interfaces.get(&filter.ifindex).map(|interface| interface.name.as_str());
        clsact::detach(&filter, name, Some(pins))?;
    }
    Ok(())
}

/// The id of the counters, and whether they were there already: a marker is made with them and
/// removed with them.
fn counter_epoch(pins: Option<&Pins>) -> Result<(String, bool)> {
    if let Some(id) = pins.and_then(|pins| pins.marker(EPOCH)) {
        return Ok((id, true));
    }
    // No two agents start in one nanosecond.
    let id = clock::boottime_ns().to_string();
    if let Some(pins) = pins {
        pins.exchange_marker(EPOCH, &id)?;
    }
    Ok((id, false))
}

/// Reads the kernel's types. aya's loader reads all of them as well, and takes longer; so both do it
/// at the same time. No thread is left afterwards.
fn read_types() -> (KernelTypes, EbpfLoader<'static>) {
    let read = || KernelTypes::of_running_kernel(&attach::TRACED_FUNCTIONS);
    thread::scope(|scope| {
        let reader = thread::Builder::new().spawn_scoped(scope, read);
        let loader = object::loader();
        let types = reader.ok().and_then(|reader| reader.join().ok());
        (types.unwrap_or_else(read), loader)
    })
}

/// Loads the object, beside what an earlier agent left that fits it.
fn load_object(
    loader: EbpfLoader<'static>,
    settings: &Settings,
    pins: Option<&Pins>,
) -> Result<Ebpf> {
    if let Some(pins) = pins {
        settle(pins, settings)?;
    }
    let limit = limits::of_maps();
    object::load(loader, settings, pins)
        .with_context(|| limits::explain("cannot load the maps", limit))
}

/// Drops pins that this agent cannot use: maps of another layout, or of another network
/// namespace, and links of other programs.
fn settle(pins: &Pins, settings: &Settings) -> Result<()> {
    let netns = std::fs::metadata("/proc/self/ns/net").context("cannot tell the namespace")?;
    let same_layout = pins.exchange_marker("layout", &settings.layout(netns.ino()))?;
    let same_object = pins.exchange_marker("object", &settings.object())?;
    if !(same_layout && same_object) {
        links::remove_all(pins)?;
    }
    if !same_layout {
        for room in [Room::Maps, Room::Counters, Room::Sockets] {
            pins.clear(room)?;
        }
        pins.remove_marker(EPOCH)?;
    }
    Ok(())
}
