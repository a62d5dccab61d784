//! The programs that are measured, with their maps filled as the agent fills them.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Ebpf, EbpfLoader, TestRun, TestRunAttrs, TestRunOptions, VerifierLogLevel,
    maps::{Array, Map, MapData},
    programs::{Program, ProgramError, SchedClassifier, TestRunResult, Xdp},
};
use monitor_common::{
    addresses::{AddressControl, AddressTable, Addresses},
    flat::FlatPlaces,
    flow::{Direction, PortCounters, Protocol, Side},
    limits::LEAST_SKETCHED_PORTS,
    ports::{PortIndex, PortSet},
    sampling::{FlowKeys, SamplingControl},
    sources::{sketch_count, talker_set_count},
};
use rustix::time::{ClockId, clock_gettime};

use super::network::LOCAL_ADDRESSES;

type Slot = [u64; size_of::<PortCounters>() / size_of::<u64>()];

/// An object whose programs count what arrives on one interface.
pub(super) struct Counting {
    object: Ebpf,
    cpus: u32,
    /// The watched ports, in the order of their index.
    ports: Vec<u16>,
}

/// Loads an object that has no maps, or whose maps are empty.
pub(super) fn load(object: &Path) -> Result<Ebpf> {
    EbpfLoader::new().load_file(object).with_context(|| format!("cannot load {object:?}"))
}

impl Counting {
    /// `observes` says whether remote addresses are noted, as they are beside an agent.
    pub(super) fn load(
        object: &Path,
        ports: Vec<u16>,
        ifindex: u32,
        observes: bool,
    ) -> Result<Self> {
        let cpus = aya::util::nr_cpus().map_err(|(file, error)| anyhow!("{file}: {error}"))? as u32;
        // One place, for one interface.
        let mut places = FlatPlaces { stride: cpus, ..FlatPlaces::EMPTY };
        places.set(ifindex, Some(0));
        let mut object = EbpfLoader::new()
            .verifier_log_level(VerifierLogLevel::DISABLE)
            .override_global("CPUS", &cpus, true)
            .override_global("FLAT_PLACES", bytemuck::bytes_of(&places), true)
            .map_max_entries("FLAT_COUNTERS", (ports.len() as u32 + 1) * cpus)
            .map_max_entries("SKIPPED_SAMPLES", cpus)
            .map_max_entries("TALKERS", talker_set_count(cpus))
            .map_max_entries("SOURCES", sketch_count(LEAST_SKETCHED_PORTS))
            .load_file(object)
            .with_context(|| format!("cannot load {object:?}"))?;
        watch(&mut object, &ports)?;
        set_addresses(&mut object)?;
        if observes {
            observe(&mut object)?;
        }
        Ok(Self { object, cpus, ports })
    }

    pub(super) fn program<P>(&mut self, name: &str) -> Result<&mut P>
    where
        P: Measured,
        for<'a> &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
    {
        program(&mut self.object, name)
    }

    /// Packets counted so far that went to `port`.
    pub(super) fn packets_to(&self, port: u16, protocol: Protocol) -> Result<u64> {
        let Some(index) = self.ports.iter().position(|watched| *watched == port) else {
            return Ok(0);
        };
        let counters = self.object.map("FLAT_COUNTERS").context("no map FLAT_COUNTERS")?;
        let counters: Array<_, Slot> = counters.try_into()?;
        let mut packets = 0;
        for cpu in 0..self.cpus {
            let slot = counters.get(&((index as u32 + 1) * self.cpus + cpu), 0)?;
            let slot: PortCounters = bytemuck::cast(slot);
            packets += slot.traffic(protocol, Direction::Ingress, Side::Local).packets;
        }
        Ok(packets)
    }
}

/// Has remote addresses noted; samples have no reader.
fn observe(object: &mut Ebpf) -> Result<()> {
    let control = SamplingControl {
        window: 2,
        seed: 1,
        keys: FlowKeys::of_seed(1),
        ..SamplingControl::default()
    };
    let mut sampling: Array<_, [u64; 9]> = map(object, ".bss.sampling")?.try_into()?;
    Ok(sampling.set(0, bytemuck::cast::<SamplingControl, [u64; 9]>(control), 0)?)
}

fn watch(object: &mut Ebpf, ports: &[u16]) -> Result<()> {
    let set: PortSet = ports.iter().copied().collect();
    let mut index: Box<PortIndex> = bytemuck::zeroed_box();
    for (position, port) in ports.iter().enumerate() {
        index.set(*port, position as u16 + 1);
    }
    let mut port_set: Array<_, [u64; 1024]> = map(object, ".bss.port_set")?.try_into()?;
    port_set.set(0, bytemuck::cast::<PortSet, [u64; 1024]>(set), 0)?;
    let mut port_index: Array<_, [u16; 65536]> = map(object, ".bss.port_index")?.try_into()?;
    port_index.set(0, *bytemuck::cast_box::<PortIndex, [u16; 65536]>(index), 0)?;
    Ok(())
}

/// Sets the addresses of the receiving host, by which its packets are told from those in transit.
fn set_addresses(object: &mut Ebpf) -> Result<()> {
    let mut table = AddressTable::EMPTY;
    for address in LOCAL_ADDRESSES {
        anyhow::ensure!(table.insert(address.into()).is_none(), "no room for {address}");
    }
    let control = AddressControl { is_complete: true, ..AddressControl::default() };
    let mut addresses: Box<Addresses> = bytemuck::zeroed_box();
    addresses.tables[0] = table;
    addresses.control = control.to_word();
    let mut section: Array<MapDataOf<'_>, [u64; 4097]> =
        map(object, ".bss.addresses")?.try_into()?;
    section.set(0, *bytemuck::cast_box::<Addresses, [u64; 4097]>(addresses), 0)?;
    Ok(())
}

/// A map of an object, borrowed.
type MapDataOf<'a> = &'a mut MapData;

fn map<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Map> {
    object.map_mut(name).with_context(|| format!("no map {name}"))
}

/// A program that can be loaded without saying more, and run on a packet.
pub(super) trait Measured:
    for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = TestRunResult>
{
    fn load_once(&mut self) -> Result<(), ProgramError>;
}

impl Measured for Xdp {
    fn load_once(&mut self) -> Result<(), ProgramError> {
        if self.fd().is_ok() { Ok(()) } else { self.load() }
    }
}

impl Measured for SchedClassifier {
    fn load_once(&mut self) -> Result<(), ProgramError> {
        if self.fd().is_ok() { Ok(()) } else { self.load() }
    }
}

/// A program of an object, in the kernel.
pub(super) fn program<'a, P>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut P>
where
    P: Measured,
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = object.program_mut(name).with_context(|| format!("no program {name}"))?;
    let program: &mut P = program.try_into()?;
    program.load_once().with_context(|| format!("cannot load {name}"))?;
    Ok(program)
}

/// CPU time of one run, in nanoseconds, as the mean of `repeat` runs on the same frame.
///
/// The kernel's own figure is a whole number of nanoseconds; the time of this thread is finer, and
/// leaves out what other processes took.
pub(super) fn run_time<P: Measured>(program: &P, frame: &[u8], repeat: u32) -> Result<f64> {
    let start = thread_time();
    program.test_run(TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() })?;
    Ok((thread_time() - start) / f64::from(repeat))
}

fn thread_time() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// Runs a program on frames that really travel, as if they had come from `ifindex`.
pub(super) fn run_live(program: &Xdp, frame: &[u8], ifindex: u32, repeat: u32) -> Result<()> {
    const BATCH: u32 = 64;
    // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
    let context = [0, frame.len() as u32, 0, ifindex, 0, 0].map(u32::to_ne_bytes).concat();
    program.test_run(TestRunOptions {
        data_in: Some(frame),
        ctx_in: Some(&context),
        repeat,
        attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
        ..TestRunOptions::new()
    })?;
    Ok(())
}
