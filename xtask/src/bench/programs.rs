//! The programs that are measured, with their maps filled as the agent fills them.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Ebpf, EbpfLoader, TestRun as _, TestRunAttrs, TestRunOptions, VerifierLogLevel,
    maps::{Array, ArrayOfMaps, Map, MapData},
    programs::Xdp,
};
use monitor_common::{
    flow::{Direction, PortCounters, Protocol, Side, slot_count, slot_index},
    limits::LEAST_SKETCHED_PORTS,
    ports::{PortIndex, PortSet},
    sampling::{FlowKeys, SamplingControl},
    sources::{row_count, sketch_count},
};
use rustix::time::{ClockId, clock_gettime};

/// `BPF_F_MMAPABLE | BPF_F_INNER_MAP`: the flags of the template in the kernel side's `maps.rs`.
const INNER_FLAGS: u32 = 1 << 10 | 1 << 12;

type Slot = [u64; size_of::<PortCounters>() / size_of::<u64>()];

/// An object whose programs count what arrives on one interface.
pub(super) struct Counting {
    object: Ebpf,
    counters: Array<MapData, Slot>,
    cpus: u32,
    /// The watched ports, in the order of their index.
    ports: Vec<u16>,
}

/// Loads an object that has no maps.
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
        let mut object = EbpfLoader::new()
            .verifier_log_level(VerifierLogLevel::DISABLE)
            .override_global("CPUS", &cpus, true)
            .map_max_entries("SKIPPED_SAMPLES", cpus)
            .map_max_entries("TALKERS", row_count(cpus))
            .map_max_entries("SOURCES", sketch_count(LEAST_SKETCHED_PORTS))
            .load_file(object)
            .with_context(|| format!("cannot load {object:?}"))?;
        let counters = Array::create(slot_count(ports.len() as u32 + 1, cpus), INNER_FLAGS)?;
        fill(&mut object, &ports, ifindex, &counters)?;
        if observes {
            observe(&mut object)?;
        }
        Ok(Self { object, counters, cpus, ports })
    }

    pub(super) fn program(&mut self, name: &str) -> Result<&mut Xdp> {
        program(&mut self.object, name)
    }

    /// Packets counted so far that went to `port`.
    pub(super) fn packets_to(&self, port: u16, protocol: Protocol) -> Result<u64> {
        let Some(index) = self.ports.iter().position(|watched| *watched == port) else {
            return Ok(0);
        };
        let mut packets = 0;
        for cpu in 0..self.cpus {
            let slot = self.counters.get(&slot_index(index as u32 + 1, cpu, self.cpus), 0)?;
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
    let mut sampling: Array<_, [u64; 8]> = map(object, "SAMPLING")?.try_into()?;
    Ok(sampling.set(0, bytemuck::cast::<SamplingControl, [u64; 8]>(control), 0)?)
}

fn fill(
    object: &mut Ebpf,
    ports: &[u16],
    ifindex: u32,
    counters: &Array<MapData, Slot>,
) -> Result<()> {
    let set: PortSet = ports.iter().copied().collect();
    let mut index: Box<PortIndex> = bytemuck::zeroed_box();
    for (position, port) in ports.iter().enumerate() {
        index.set(*port, position as u16 + 1);
    }
    let mut port_set: Array<_, [u64; 1024]> = map(object, ".bss.port_set")?.try_into()?;
    port_set.set(0, bytemuck::cast::<PortSet, [u64; 1024]>(set), 0)?;
    let mut port_index: Array<_, [u16; 65536]> = map(object, ".bss.port_index")?.try_into()?;
    port_index.set(0, *bytemuck::cast_box::<PortIndex, [u16; 65536]>(index), 0)?;
    // The interfaces of a new network namespace have small indices.
    let mut near: ArrayOfMaps<_, Array<MapData, Slot>> =
        map(object, "NEAR_COUNTERS")?.try_into()?;
    near.set(ifindex, counters, 0)?;
    Ok(())
}

fn map<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Map> {
    object.map_mut(name).with_context(|| format!("no map {name}"))
}

/// A program of an object, in the kernel.
pub(super) fn program<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = object.program_mut(name).with_context(|| format!("no program {name}"))?;
    let program: &mut Xdp = program.try_into()?;
    if program.fd().is_err() {
        program.load().with_context(|| format!("cannot load {name}"))?;
    }
    Ok(program)
}

/// CPU time of one run, in nanoseconds, as the mean of `repeat` runs on the same frame.
///
/// The kernel's own figure is a whole number of nanoseconds; the time of this thread is finer, and
/// leaves out what other processes took.
pub(super) fn run_time(program: &Xdp, frame: &[u8], repeat: u32) -> Result<f64> {
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
