//! The loaded kernel side: maps, hooks and pins.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::net::UnixDatagram,
    path::Path,
};

use anyhow::{Context as _, Result};
use monitor_common::{
    flow::LOOPBACK, offsets::Offsets, ports::PortSet, socket_record::SocketRecord,
};

use crate::{
    address_maps::AddressMaps,
    attacher::Attacher,
    call_sums::CallSums,
    cleanup, clsact,
    counters::Counters,
    events::Events,
    flat::FlatSize,
    holders::OpenSockets,
    hooks::{Hook, HookChange, HookMechanism, HookStatus},
    interfaces::Interface,
    limits,
    link_kind::Link,
    listener_ports::ListenerPortsMap,
    loading,
    local_addresses::LocalAddresses,
    log::KernelLog,
    mechanism::{BindMechanism, InterfaceMode},
    object::{self, Settings},
    options::{Options, Streams},
    pins::{self, PinDir, Pins, PinsError},
    preemption,
    rare::RareMaps,
    record::{self, Record},
    samples::Samples,
    sampling::{self, Sampling},
    selftest::SelftestMap,
    snapshot::{
        MapUsage, PortRareSockets, PortRareTraffic, PortSources, PortTraffic, Remotes, Snapshot,
    },
    socket_access,
    sources::TalkerFacts,
    topology,
};

/// The kernel side.
pub struct Kernel {
    pins: Option<Pins>,
    lock_without_pins: Option<UnixDatagram>,
    counters: Counters,
    listener_ports: ListenerPortsMap,
    addresses: AddressMaps,
    rare: RareMaps,
    call_sums: CallSums,
    sampling: Sampling,
    selftest: SelftestMap,
    attacher: Attacher,
    /// Distinguishes this set of counters from others.
    counters_id: String,
    /// Whether an earlier agent created the counters.
    counters_adopted: bool,
    /// Whether the statuses of the hooks are written to the record file.
    has_record: bool,
}

/// Why an agent cannot start on this kernel.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another agent runs.
    #[error("{0}: stop it first, or use its metrics")]
    Locked(PinsError),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// Removes what agents left in folders that this one does not use: their hooks would count again.
fn discard_others(pins: &Pins) -> Result<(), StartError> {
    let others = pins.open_others(Path::new(pins::ROOT)).map_err(|error| match error {
        PinsError::Locked { .. } => StartError::Locked(error),
        PinsError::Unusable { .. } => StartError::Other(error.into()),
    })?;
    for other in others {
        for ifindex in cleanup::discard(other)? {
            pins.mark(PinDir::Qdiscs, &ifindex.to_string()).map_err(anyhow::Error::from)?;
        }
    }
    Ok(())
}

impl Kernel {
    /// Loads the kernel side, and adopts the maps and hooks that an earlier agent left.
    pub fn start(options: Options) -> Result<(Self, Streams), StartError> {
        let (mut kernel, streams) = match Pins::open(Path::new(pins::ROOT)) {
            Ok(pins) => {
                discard_others(&pins)?;
                Self::load(Some(pins), options)?
            }
            Err(error @ PinsError::Locked { .. }) => return Err(StartError::Locked(error)),
            Err(error) => {
                tracing::warn!(%error, "nothing is pinned: counters and hooks end with this agent");
                let lock = pins::lock_without_pins().map_err(StartError::Locked)?;
                let (mut kernel, streams) = Self::load(None, options)?;
                kernel.lock_without_pins = Some(lock);
                (kernel, streams)
            }
        };
        kernel.has_record = true;
        Ok((kernel, streams))
    }

    /// Loads the kernel side for a trial: it ends with the process.
    pub fn start_unpinned(options: Options) -> Result<(Self, Streams)> {
        Self::load(None, options)
    }

    fn load(pins: Option<Pins>, options: Options) -> Result<(Self, Streams)> {
        limits::lift();
        let (types, loader) = loading::read_types();
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
            flat: FlatSize::of(options.ports, options.interfaces, cpus as u32),
            preemptible: preemption::is_realtime(),
            sketched_ports: sampling::sketched_ports(options.ports),
            log_level: options.log_level,
        };
        let mut object = loading::load_object(loader, &settings, pins.as_ref())?;
        let unsupported = socket_access::unsupported_reason(&mut object, &types);
        if let Some(why) = &unsupported {
            tracing::warn!(why, "binds are seen without their sockets, refused binds not at all");
            // Without offsets, programs do not read kernel memory, and the kernel accepts them.
            settings.offsets = Offsets::MISSING;
            object = loading::load_object(object::loader(), &settings, pins.as_ref())?;
        }
        let (counters_id, counters_adopted) = loading::counter_epoch(pins.as_ref())?;
        let streams = Streams {
            events: Events::open(&object).context("cannot read the event ring")?,
            samples: Samples::open(&object).context("cannot read the sample ring")?,
            log: KernelLog::open(&mut object)?,
        };
        let counters = Counters::open(&mut object, settings.cpus, pins.as_ref())?;
        let listener_ports = ListenerPortsMap::open(&mut object)?;
        let addresses = AddressMaps::open(&mut object)?;
        let rare = RareMaps::open(&mut object)?;
        let call_sums = CallSums::open(&mut object)?;
        let sampling = Sampling::open(&mut object, settings.cpus)?;
        let selftest = SelftestMap::open(&mut object)?;
        let attacher = Attacher::new(object, unsupported, types, pins.as_ref());
        let kernel = Self {
            pins,
            lock_without_pins: None,
            counters,
            listener_ports,
            addresses,
            rare,
            call_sums,
            sampling,
            selftest,
            attacher,
            counters_id,
            counters_adopted,
            has_record: false,
        };
        Ok((kernel, streams))
    }

    /// Makes room for the counts of `ports` on every interface that has counters, and on
    /// `interfaces`. The watched ports stay as they are. Fails if the kernel grants no memory, no
    /// descriptor or no pin.
    pub fn make_room(
        &mut self,
        ports: &BTreeSet<u16>,
        interfaces: &BTreeMap<u32, Interface>,
    ) -> Result<()> {
        let interfaces = interfaces.values().map(|each| (each.index, each.name.as_str()));
        Ok(self.counters.make_room(ports, interfaces, self.pins.as_ref())?)
    }

    /// Sets the watched ports. After an error the previous ports stay in force.
    pub fn watch(&mut self, ports: &BTreeSet<u16>) -> Result<()> {
        Ok(self.counters.watch(ports, self.pins.as_ref())?)
    }

    /// Sets the ports whose listeners are reported, watched or not. After an error the previous ports
    /// stay in force.
    pub fn watch_listeners(&mut self, ports: &PortSet) -> Result<()> {
        Ok(self.listener_ports.watch(ports)?)
    }

    /// Sets the addresses of this host, by which packets are local, remote or in transit. Until the
    /// first call none is in transit. After an error the previous addresses stay in force.
    pub fn set_local_addresses(&mut self, local: &LocalAddresses) -> Result<()> {
        let Self { addresses, counters, .. } = self;
        Ok(addresses.set(local, || counters.wait_for_programs())?)
    }

    /// Attaches the socket hooks. Returns their statuses.
    pub fn attach_sockets(&mut self, mechanism: BindMechanism) -> Vec<HookStatus> {
        let changes = self.attacher.attach_sockets(mechanism, self.pins.as_ref());
        self.note_bind_mechanism();
        self.write_record();
        changes
    }

    /// Starts a read of the holders of sockets on watched ports; requires attached socket hooks.
    pub fn open_sockets(&mut self) -> Result<OpenSockets> {
        self.attacher.open_sockets()
    }

    /// Why [`Self::open_sockets`] is not available, if so; then `/proc` is searched for holders.
    pub fn holders_unsupported(&self) -> Option<&str> {
        self.attacher.holders_unsupported()
    }

    /// Why new packet sockets are found by the next scan only, if so.
    pub fn captures_unsupported(&self) -> Option<&str> {
        self.attacher.captures_unsupported()
    }

    /// Attaches the traffic hooks of the interfaces that are `wanted`, and detaches those of all
    /// others; `all` interfaces say how they are stacked. Returns what changed.
    pub fn reconcile(
        &mut self,
        wanted: &BTreeMap<u32, Interface>,
        all: &BTreeMap<u32, Interface>,
        mode: InterfaceMode,
    ) -> Vec<HookChange> {
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
            match self.drop_interface(ifindex) {
                Ok(detached) => changes.extend(detached),
                Err(error) => tracing::error!(%error, ifindex, "cannot detach"),
            }
        }
        self.counters.set_roles(&topology::roles(wanted.keys(), all));
        if !changes.is_empty() {
            self.write_record();
        }
        changes
    }

    /// Hooks that should be attached and that the kernel has not attached, each with the index of its
    /// interface or 0. An interface that goes takes its hooks with it: those of an interface that is
    /// in no later list are not lost.
    pub fn detached_hooks(&self) -> Vec<(Hook, u32)> {
        self.attacher.detached(self.pins.as_ref())
    }

    /// Notes that hooks were detached behind the agent: [`Self::reconcile`] and
    /// [`Self::restore_sockets`] attach them again after a pause. Returns their statuses.
    pub fn lose(&mut self, hooks: &[(Hook, u32)]) -> Vec<HookStatus> {
        let lost = self.attacher.lose(hooks, self.pins.as_ref());
        if !lost.is_empty() {
            self.write_record();
        }
        lost
    }

    /// Attaches the socket hooks that were lost and are due. Returns their statuses.
    pub fn restore_sockets(&mut self, mechanism: BindMechanism) -> Vec<HookStatus> {
        let changes = self.attacher.restore_sockets(mechanism, self.pins.as_ref());
        if !changes.is_empty() {
            self.note_bind_mechanism();
            self.write_record();
        }
        changes
    }

    /// Whether hooks are lost now.
    pub fn has_lost_hooks(&self) -> bool {
        self.attacher.has_lost()
    }

    /// Whether a lost hook is to be attached now.
    pub fn is_restoring_due(&self) -> bool {
        self.attacher.is_restoring_due()
    }

    /// Tells the programs of the system call whether others see binds.
    fn note_bind_mechanism(&mut self) {
        let statuses = self.attacher.statuses();
        let bind = statuses.iter().find(|status| status.hook == Hook::Bind);
        let mechanism = bind.and_then(|status| status.attached);
        if let Err(error) = self.listener_ports.binds_are_seen_by(mechanism) {
            tracing::warn!(%error, "binds of datagram listeners may not be seen");
        }
    }

    fn write_record(&self) {
        if !self.has_record {
            return;
        }
        if let Err(error) = self.attacher.record().write(Path::new(record::FOLDER)) {
            tracing::warn!(
                %error, folder = record::FOLDER,
                "doctor and the next agent will not know why better mechanisms were rejected"
            );
        }
    }

    fn drop_interface(&mut self, ifindex: u32) -> Result<Vec<HookChange>> {
        let changes = self.attacher.detach_interface(ifindex, self.pins.as_ref())?;
        self.counters.remove_interface(ifindex, self.pins.as_ref())?;
        self.rare.remove_interface(ifindex)?;
        Ok(changes)
    }

    /// Interfaces whose clsact qdisc this agent created and no longer uses.
    pub fn idle_qdiscs(&self) -> Vec<u32> {
        self.pins.as_ref().map(clsact::idle_qdiscs).unwrap_or_default()
    }

    /// Removes the marker of a clsact qdisc that this agent created.
    pub fn forget_qdisc(&self, ifindex: u32) -> Result<()> {
        self.pins.as_ref().map_or(Ok(()), |pins| clsact::forget_qdisc(pins, ifindex))
    }

    /// Attaches the traffic hooks of the loopback interface in this thread's network namespace.
    pub fn attach_loopback(&mut self, mode: InterfaceMode) -> Result<Vec<HookStatus>> {
        let loopback = Interface::new(LOOPBACK, "lo", 65536, Link::Ethernet);
        self.counters.add_interface(loopback.index, &loopback.name, self.pins.as_ref())?;
        let changes = self.attacher.attach_traffic(&loopback, mode, self.pins.as_ref());
        Ok(changes.into_iter().map(|change| change.status).collect())
    }

    /// Loads the traffic programs without attaching them.
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

    /// Creates the counters of these interfaces.
    pub fn make_room_for(&mut self, interfaces: &[Interface]) -> Result<()> {
        for interface in interfaces {
            self.counters.add_interface(interface.index, &interface.name, self.pins.as_ref())?;
        }
        Ok(())
    }

    /// Every hook with its status.
    pub fn hooks(&self) -> Vec<HookStatus> {
        self.attacher.statuses()
    }

    /// Identifies the set of counters: one with another id has started from zero.
    pub fn counters_id(&self) -> &str {
        &self.counters_id
    }

    /// When the counters began, `CLOCK_BOOTTIME` in nanoseconds: that is their id. `None` if their marker
    /// has another one.
    pub fn counting_since_ns(&self) -> Option<u64> {
        self.counters_id.parse().ok()
    }

    /// Whether an earlier agent created the counters, which then include the time between the agents.
    pub const fn counters_adopted(&self) -> bool {
        self.counters_adopted
    }

    /// The socket calls that were summed up before the last [`Self::renew_sampling`]. A later one may
    /// be counted already.
    pub fn take_call_sums(&mut self) -> Result<Vec<SocketRecord>> {
        let current = self.sampling.generation()?;
        // Nearly always there are none.
        if !self.call_sums.has_ended(current)? {
            return Ok(Vec::new());
        }
        // A program that began before the generation may still add to the one before.
        self.counters.wait_for_programs()?;
        Ok(self.call_sums.take(current)?)
    }

    /// Advances the time window of remote addresses, begins the next generation of sums, and grants
    /// the samples of another second, or none.
    pub fn renew_sampling(&mut self, captures: bool) -> Result<()> {
        Ok(self.sampling.renew(captures)?)
    }

    /// The remote addresses with most packets on all watched ports, most packets first.
    pub fn talkers(&self) -> Result<Vec<TalkerFacts>> {
        Ok(self.sampling.talkers()?)
    }

    /// The remote addresses with most packets, and the sketches of all, as they are before the next
    /// [`Self::renew_sampling`], which may empty some.
    pub fn remotes(&self) -> Result<Remotes> {
        let sketches = self.sampling.sketches(self.counters.watched_indices())?;
        Ok(Remotes { talkers: self.talkers()?, sketches, ring_losses: self.ring_losses()? })
    }

    /// What addresses are hashed with.
    pub fn address_seed(&self) -> Result<u64> {
        Ok(self.sampling.seed()?)
    }

    /// Hashes addresses with this seed, so that sketches of several lives of the maps can be merged.
    /// Call it before the first hook is attached. Maps of an earlier agent keep the seed that they have.
    pub fn set_address_seed(&mut self, seed: u64) -> Result<()> {
        if self.counters_adopted {
            return Ok(());
        }
        Ok(self.sampling.set_seed(seed)?)
    }

    /// Number of remote addresses on each watched port that has a sketch.
    pub fn sources(&self) -> Result<Vec<PortSources>> {
        Ok(self.sampling.sources(self.counters.watched_indices())?)
    }

    /// The mark of a selftest.
    pub const fn selftest(&mut self) -> &mut SelftestMap {
        &mut self.selftest
    }

    /// The counters of the ports alone.
    pub fn port_counters(&self) -> Snapshot {
        let traffic = self.counters.traffic();
        // The next reading has what this one lacks.
        let warn = |error| tracing::warn!("UDP-Lite and SCTP are not read now: {error:#}");
        Snapshot {
            rare_traffic: self.rare_traffic(&traffic).map_err(warn).unwrap_or_default(),
            traffic,
            sockets: self.counters.sockets(),
            rare_sockets: self.rare_sockets().map_err(warn).unwrap_or_default(),
            ..Snapshot::default()
        }
    }

    /// Traffic of rare protocols on watched ports, with the names and roles of interfaces as in
    /// `traffic`.
    fn rare_traffic(&self, traffic: &[PortTraffic]) -> Result<Vec<PortRareTraffic>> {
        let mut rows = self.rare.traffic()?;
        rows.retain_mut(|row| {
            let same = |of: &&PortTraffic| {
                (of.interface_index, of.port) == (row.interface_index, row.port)
            };
            let found = traffic.iter().find(same);
            if let Some(PortTraffic { interface, role, .. }) = found {
                row.interface.clone_from(interface);
                row.role = *role;
            }
            found.is_some()
        });
        Ok(rows)
    }

    /// Socket calls of rare protocols on watched ports.
    fn rare_sockets(&self) -> Result<Vec<PortRareSockets>> {
        let mut rows = self.rare.sockets()?;
        rows.retain(|row| self.counters.is_watched(row.port));
        Ok(rows)
    }

    /// Everything that a scrape shows.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let traffic = self.counters.traffic();
        Ok(Snapshot {
            rare_traffic: self.rare_traffic(&traffic)?,
            traffic,
            rare_sockets: self.rare_sockets()?,
            unclassified: self.counters.unclassified(),
            sockets: self.counters.sockets(),
            hooks: self.attacher.statuses(),
            hook_losses: self.attacher.loss_counts(),
            kernel_errors: self.counters.kernel_errors()?,
            missed_calls: self.attacher.missed_calls(),
            sources: self.sources()?,
            skipped_samples: self.sampling.skipped()?,
            maps: self.maps(),
            remotes: None,
        })
    }

    /// Events and samples that found a ring buffer full.
    ///
    /// # Errors
    /// The maps cannot be read.
    pub fn ring_losses(&self) -> Result<u64> {
        let events =
            self.counters.kernel_errors()?[monitor_common::errors::KernelError::RingFull as usize];
        Ok(events + self.sampling.skipped()?[monitor_common::sample::SkipCause::RingFull as usize])
    }

    /// Fill and size of the maps.
    pub fn maps(&self) -> Vec<MapUsage> {
        let mut usage = self.counters.usage();
        usage.extend(self.rare.usage());
        usage
    }

    /// Detaches every hook; the maps and their counts stay pinned.
    pub fn detach_hooks(&mut self) -> Result<()> {
        // Continues on error: hooks that stay attached are worse than sampling that stays enabled.
        if let Err(error) = self.sampling.end() {
            tracing::warn!(%error, "cannot disable sampling in the kernel side");
        }
        self.attacher.detach_sockets(self.pins.as_ref())?;
        for ifindex in self.attacher.interfaces() {
            self.attacher.detach_interface(ifindex, self.pins.as_ref())?;
        }
        if self.has_record
            && let Err(error) = Record::remove(Path::new(record::FOLDER))
        {
            tracing::debug!(%error, "the record of the hooks stays");
        }
        Ok(())
    }

    /// Offsets in kernel structs that the kernel's BTF lacks, as `struct.member`.
    pub fn missing_offsets(&self) -> &[String] {
        self.attacher.missing_offsets()
    }
}
