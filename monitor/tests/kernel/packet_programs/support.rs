//! The object under test, what it has counted, and what it should have.

use std::{collections::BTreeMap, net::IpAddr};

use aya::{
    Ebpf, EbpfLoader, TestRun as _, VerifierLogLevel,
    maps::{Array, ArrayOfMaps, HashOfMaps, Map, MapData},
    programs::{ProgramError, SchedClassifier, TcAttachType, TestRunOptions, TestRunResult, Xdp},
};
use monitor_common::{
    addresses::{AddressControl, AddressTable, Addresses},
    errors::KernelError,
    flat::FlatPlaces,
    flow::{
        Direction, PortCounters, Protocol, SLOT_SIZE, Side, UnclassifiedCounters, slot_count,
        slot_index,
    },
    limits::NEAR_INTERFACES,
    packet::Unclassified,
    ports::{PortIndex, PortSet},
    sampling::{FlowKeys, SamplingControl},
    sources::{sketch_count, talker_set_count},
};
use testkit::{
    frames::{Outcome, Shape, shapes, syn},
    programs::has_tcx,
    sh,
};

/// Test runs that name no interface happen on the loopback interface of the namespace.
const LOOPBACK: u32 = 1;

pub(super) const XDP_PASS: u32 = 2;
/// `TCX_NEXT`, which is `TC_ACT_UNSPEC`.
pub(super) const NEXT: u32 = -1_i32 as u32;

pub(super) const FIRST: u16 = 2948;
pub(super) const SECOND: u16 = 3717;
pub(super) const OTHER: u16 = 4000;

const XDP: [&str; 2] = ["xdp_ingress", "xdp_ingress_frags"];
pub(super) const TC: [(&str, Direction); 2] =
    [("tc_ingress", Direction::Ingress), ("tc_egress", Direction::Egress)];

/// The addresses of all packets.
const ADDRESSES: [&str; 4] = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"];

type Slot = [u64; SLOT_SIZE / size_of::<u64>()];

/// Counters that are not zero, under names one can read.
pub(super) type Counts = BTreeMap<String, u64>;

/// The object in the kernel, its maps filled as the agent fills them.
pub(super) struct Programs {
    pub(super) object: Ebpf,
    counters: Array<MapData, Slot>,
    cpus: u32,
    /// In the order of their index, from 1.
    ports: Vec<u16>,
}

impl Programs {
    pub(super) fn watching(ports: impl IntoIterator<Item = u16>) -> Self {
        Self::on(LOOPBACK, ports)
    }

    /// In every state that a packet's way through the programs depends on: counters in an array of the
    /// interface or in the flat one, which the last port is beyond, without and with the addresses of
    /// this host, without and with an agent that wants remote addresses.
    pub(super) fn in_every_state(ports: &[u16]) -> impl Iterator<Item = Self> {
        let states =
            [(false, false, false), (true, false, false), (true, true, false), (true, true, true)];
        states.into_iter().map(|(is_flat, knows_addresses, observes)| {
            let flat_indices = if is_flat { ports.len() as u32 } else { 0 };
            let mut programs = Self::with(LOOPBACK, ports.iter().copied(), flat_indices);
            if knows_addresses {
                programs.set_addresses();
            }
            if observes {
                programs.observe();
            }
            programs
        })
    }

    /// Counts what crosses one interface.
    pub(super) fn on(ifindex: u32, ports: impl IntoIterator<Item = u16>) -> Self {
        Self::with(ifindex, ports, 0)
    }

    /// The flat array has a place for the interface, with room for so many port indices.
    fn with(ifindex: u32, ports: impl IntoIterator<Item = u16>, flat_indices: u32) -> Self {
        /// `BPF_F_MMAPABLE | BPF_F_INNER_MAP`.
        const INNER: u32 = 1 << 10 | 1 << 12;
        let ports: Vec<u16> = ports.into_iter().collect();
        let cpus = aya::util::nr_cpus().unwrap() as u32;
        let mut places = FlatPlaces { stride: cpus, ..FlatPlaces::EMPTY };
        places.set(ifindex, (flat_indices > 0).then_some(0));
        let mut object = EbpfLoader::new()
            .verifier_log_level(VerifierLogLevel::DISABLE)
            .override_global("CPUS", &cpus, true)
            .override_global("FLAT_PLACES", bytemuck::bytes_of(&places), true)
            .map_max_entries("FLAT_COUNTERS", (flat_indices * cpus).max(1))
            .map_max_entries("TALKERS", talker_set_count(cpus))
            .map_max_entries("SOURCES", sketch_count(8))
            .load(monitor_kernel::testing::AGENT_OBJECT)
            .unwrap();
        let set: PortSet = ports.iter().copied().collect();
        let mut index: Box<PortIndex> = bytemuck::zeroed_box();
        for (port, number) in ports.iter().zip(1..=u16::MAX) {
            index.set(*port, number);
        }
        let counters = Array::create(slot_count(ports.len() as u32 + 1, cpus), INNER).unwrap();
        let mut port_set: Array<_, [u64; 1024]> =
            map(&mut object, ".bss.port_set").try_into().unwrap();
        port_set.set(0, bytemuck::cast::<PortSet, [u64; 1024]>(set), 0).unwrap();
        let mut port_index: Array<_, [u16; 65536]> =
            map(&mut object, ".bss.port_index").try_into().unwrap();
        port_index.set(0, *bytemuck::cast_box::<_, [u16; 65536]>(index), 0).unwrap();
        if ifindex < NEAR_INTERFACES {
            let mut near: ArrayOfMaps<_, Array<MapData, Slot>> =
                map(&mut object, "NEAR_COUNTERS").try_into().unwrap();
            near.set(ifindex, &counters, 0).unwrap();
        } else {
            let mut outer: HashOfMaps<_, u32, Array<MapData, Slot>> =
                map(&mut object, "COUNTERS").try_into().unwrap();
            outer.insert(ifindex, &counters, 0).unwrap();
        }
        Self { object, counters, cpus, ports }
    }

    /// Both ends of all packets are this host's.
    fn set_addresses(&mut self) {
        let mut table = AddressTable::EMPTY;
        for address in ADDRESSES {
            assert_eq!(table.insert(address.parse::<IpAddr>().unwrap().into()), None);
        }
        let control = AddressControl { is_complete: true, ..AddressControl::default() };
        let mut addresses: Box<Addresses> = bytemuck::zeroed_box();
        addresses.tables[0] = table;
        addresses.control = control.to_word();
        let mut section: Array<_, [u64; 4097]> =
            map(&mut self.object, ".bss.addresses").try_into().unwrap();
        section.set(0, *bytemuck::cast_box::<_, [u64; 4097]>(addresses), 0).unwrap();
    }

    /// Has remote addresses noted.
    fn observe(&mut self) {
        let keys = FlowKeys::of_seed(1);
        let control = SamplingControl { window: 2, seed: 1, keys, ..SamplingControl::default() };
        let mut section: Array<_, [u64; 9]> =
            map(&mut self.object, ".bss.sampling").try_into().unwrap();
        section.set(0, bytemuck::cast::<SamplingControl, [u64; 9]>(control), 0).unwrap();
    }

    /// A slot, in whichever array the port is counted.
    fn slot(&self, index: u32, cpu: u32) -> Slot {
        let flat: Array<_, Slot> = self.object.map("FLAT_COUNTERS").unwrap().try_into().unwrap();
        let slot = slot_index(index, cpu, self.cpus);
        let mut sum = self.counters.get(&slot, 0).unwrap();
        if slot < flat.len() {
            let flat = flat.get(&slot, 0).unwrap();
            sum.iter_mut().zip(flat).for_each(|(sum, count)| *sum += count);
        }
        sum
    }

    pub(super) fn xdp(&mut self, name: &str) -> &mut Xdp {
        let program: &mut Xdp = self.object.program_mut(name).unwrap().try_into().unwrap();
        if program.fd().is_err() {
            program.load().unwrap();
        }
        program
    }

    pub(super) fn classifier(&mut self, name: &str) -> &mut SchedClassifier {
        let program = self.object.program_mut(name).unwrap();
        let program: &mut SchedClassifier = program.try_into().unwrap();
        if program.fd().is_err() {
            program.load().unwrap();
        }
        program
    }

    /// By TCX, or where there is none, on a clsact qdisc.
    pub(super) fn attach_tc(&mut self, name: &str, interface: &str, direction: TcAttachType) {
        if !has_tcx() {
            sh(&format!("tc qdisc add dev {interface} clsact"));
        }
        self.classifier(name).attach(interface, direction).unwrap();
    }

    /// The XDP programs that this kernel takes: one for packets in several buffers came with Linux
    /// 5.18.
    pub(super) fn xdp_names(&mut self) -> Vec<&'static str> {
        XDP.into_iter().filter(|name| *name == XDP[0] || self.has_several_buffers()).collect()
    }

    pub(super) fn has_several_buffers(&mut self) -> bool {
        let program: &mut Xdp = self.object.program_mut(XDP[1]).unwrap().try_into().unwrap();
        program.fd().is_ok() || program.load().is_ok()
    }

    pub(super) fn run_xdp(&mut self, name: &str, packet: &[u8]) -> u32 {
        check_untouched(packet, |options| self.xdp(name).test_run(options))
    }

    pub(super) fn run_tc(&mut self, name: &str, packet: &[u8]) -> u32 {
        check_untouched(packet, |options| self.classifier(name).test_run(options))
    }

    /// Everything that was counted so far, failures of the kernel side included.
    pub(super) fn counts(&mut self) -> Counts {
        let mut counts = Counts::new();
        let mut add = |name: String, count| {
            if count != 0 {
                *counts.entry(name).or_default() += count;
            }
        };
        for cpu in 0..self.cpus {
            let slot: UnclassifiedCounters = bytemuck::cast(self.slot(0, cpu));
            for direction in Direction::ALL {
                for cause in Unclassified::ALL {
                    let name = format!("{} {}", direction.name(), cause.name());
                    add(name, slot.packets(direction, cause));
                }
            }
            for (port, number) in self.ports.iter().zip(1..=u16::MAX) {
                let slot = self.slot(number.into(), cpu);
                if slot != [0; _] {
                    port_counts(*port, &bytemuck::cast(slot), &mut add);
                }
            }
        }
        let errors: Array<_, u64> = map(&mut self.object, "ERRORS").try_into().unwrap();
        for error in KernelError::ALL {
            add(format!("error {}", error.name()), errors.get(&(error as u32), 0).unwrap());
        }
        counts
    }

    /// What `run` adds to the counters.
    pub(super) fn counted(&mut self, run: impl FnOnce(&mut Self)) -> Counts {
        let before = self.counts();
        run(self);
        let mut counted = self.counts();
        for (name, count) in before {
            let now = counted.remove(&name).unwrap_or(0);
            assert!(now >= count, "{name} went back from {count} to {now}");
            if now > count {
                counted.insert(name, now - count);
            }
        }
        counted
    }
}

pub(super) fn map<'a>(object: &'a mut Ebpf, name: &str) -> &'a mut Map {
    object.map_mut(name).unwrap_or_else(|| panic!("no map {name}"))
}

/// Runs a program on a packet, which must come out as it went in. Returns what the program says.
pub(super) fn check_untouched(
    packet: &[u8],
    run: impl FnOnce(TestRunOptions<'_>) -> Result<TestRunResult, ProgramError>,
) -> u32 {
    let mut after = vec![0; packet.len() + 64];
    let options = TestRunOptions {
        data_in: Some(packet),
        data_out: Some(&mut after),
        ..TestRunOptions::new()
    };
    let result = run(options).unwrap();
    assert_eq!(result.data_size_out as usize, packet.len());
    assert_eq!(&after[..packet.len()], packet);
    result.return_value
}

fn port_counts(port: u16, counters: &PortCounters, add: &mut impl FnMut(String, u64)) {
    for direction in Direction::ALL {
        for side in Side::ALL {
            for protocol in Protocol::COMMON {
                let traffic = counters.traffic(protocol, direction, side);
                let name = series(port, protocol, direction, side);
                add(format!("{name} packets"), traffic.packets);
                add(format!("{name} bytes"), traffic.bytes);
            }
            let attempts = counters.connection_attempts[direction as usize][side as usize];
            let name = series(port, Protocol::Tcp, direction, side);
            add(format!("{name} attempts"), attempts);
        }
    }
}

pub(super) fn series(port: u16, protocol: Protocol, direction: Direction, side: Side) -> String {
    format!("{port} {} {} {}", protocol.name(), direction.name(), side.name())
}

/// What a packet of so many bytes should add to the counters.
pub(super) fn expected(
    outcome: Outcome,
    watched: impl Fn(u16) -> bool,
    direction: Direction,
    bytes: usize,
) -> Counts {
    let mut counts = Counts::new();
    match outcome {
        Outcome::NotOurs => {}
        Outcome::Unclassified(cause) => {
            counts.insert(format!("{} {cause}", direction.name()), 1);
        }
        Outcome::Segment { protocol, source, destination, attempt } => {
            let protocol = if protocol == "tcp" { Protocol::Tcp } else { Protocol::Udp };
            let ends = match direction {
                Direction::Ingress => [(source, Side::Remote), (destination, Side::Local)],
                Direction::Egress => [(source, Side::Local), (destination, Side::Remote)],
            };
            for (port, side) in ends.into_iter().filter(|(port, _)| watched(*port)) {
                let name = series(port, protocol, direction, side);
                counts.insert(format!("{name} packets"), 1);
                counts.insert(format!("{name} bytes"), bytes as u64);
                if attempt {
                    counts.insert(format!("{name} attempts"), 1);
                }
            }
        }
    }
    counts
}

pub(super) fn is_watched(port: u16) -> bool {
    [FIRST, SECOND].contains(&port)
}

pub(super) fn every_shape() -> Vec<Shape> {
    shapes(FIRST, SECOND, OTHER)
}

/// Shapes that a test run of TC accepts: newer kernels refuse an IP header that is cut short. Those
/// shapes are for real packets.
pub(super) fn accepted_by_tc() -> impl Iterator<Item = Shape> {
    every_shape().into_iter().filter(|shape| {
        let ethertype = [shape.frame[12], shape.frame[13]];
        is_accepted_by_tc(ethertype, &shape.frame)
    })
}

/// Whether a packet of that protocol can be given to a test run, which takes its first 14 bytes for
/// an Ethernet header.
pub(super) fn is_accepted_by_tc(ethertype: [u8; 2], packet: &[u8]) -> bool {
    let ip_len = match ethertype {
        [0x08, 0x00] => 20,
        [0x86, 0xdd] => 40,
        _ => 0,
    };
    packet.len() >= 14 + ip_len
}

/// A SYN from a port that is not watched to one that is, with so many bytes after its header.
pub(super) fn syn_with_payload(len: usize) -> Vec<u8> {
    let mut frame = syn(OTHER, FIRST);
    frame.resize(frame.len() + len, 0x5a);
    let datagram_len = (frame.len() - 14) as u16;
    frame[16..18].copy_from_slice(&datagram_len.to_be_bytes());
    frame
}
