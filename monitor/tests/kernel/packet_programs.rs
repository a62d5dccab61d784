//! The traffic programs themselves, run by `BPF_PROG_TEST_RUN` on packets of every shape: what they
//! return, that they leave the packet as it was, and what they count, down to the last counter.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, io, net::IpAddr};

use aya::{
    Ebpf, EbpfLoader, TestRun as _, VerifierLogLevel,
    maps::{Array, ArrayOfMaps, HashOfMaps, Map, MapData},
    programs::{
        ProgramError, SchedClassifier, TcAttachType, TestRunOptions, TestRunResult, Xdp, XdpMode,
    },
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
    frames::{Outcome, Shape, plain_udp, shapes, syn},
    programs::has_tcx,
    sh,
    wire::{SplitWire, Wire, index_of},
    world::{in_world, set_sysctl},
};

/// Test runs that name no interface happen on the loopback interface of the namespace.
const LOOPBACK: u32 = 1;

const XDP_PASS: u32 = 2;
/// `TCX_NEXT`, which is `TC_ACT_UNSPEC`.
const NEXT: u32 = -1_i32 as u32;

const FIRST: u16 = 2948;
const SECOND: u16 = 3717;
const OTHER: u16 = 4000;

const XDP: [&str; 2] = ["xdp_ingress", "xdp_ingress_frags"];
const TC: [(&str, Direction); 2] =
    [("tc_ingress", Direction::Ingress), ("tc_egress", Direction::Egress)];
const TC_IP: [(&str, Direction); 2] =
    [("tc_ingress_ip", Direction::Ingress), ("tc_egress_ip", Direction::Egress)];

/// The addresses of all packets.
const ADDRESSES: [&str; 4] = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"];

type Slot = [u64; SLOT_SIZE / size_of::<u64>()];

/// Counters that are not zero, under names one can read.
type Counts = BTreeMap<String, u64>;

/// The object in the kernel, its maps filled as the agent fills them.
struct Programs {
    object: Ebpf,
    counters: Array<MapData, Slot>,
    cpus: u32,
    /// In the order of their index, from 1.
    ports: Vec<u16>,
}

impl Programs {
    fn watching(ports: impl IntoIterator<Item = u16>) -> Self {
        Self::on(LOOPBACK, ports)
    }

    /// In every state that a packet's way through the programs depends on: counters in an array of the
    /// interface or in the flat one, which the last port is beyond, without and with the addresses of
    /// this host, without and with an agent that wants remote addresses.
    fn in_every_state(ports: &[u16]) -> impl Iterator<Item = Self> {
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
    fn on(ifindex: u32, ports: impl IntoIterator<Item = u16>) -> Self {
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
        let mut section: Array<_, [u64; 8]> =
            map(&mut self.object, ".bss.sampling").try_into().unwrap();
        section.set(0, bytemuck::cast::<SamplingControl, [u64; 8]>(control), 0).unwrap();
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

    fn xdp(&mut self, name: &str) -> &mut Xdp {
        let program: &mut Xdp = self.object.program_mut(name).unwrap().try_into().unwrap();
        if program.fd().is_err() {
            program.load().unwrap();
        }
        program
    }

    fn classifier(&mut self, name: &str) -> &mut SchedClassifier {
        let program = self.object.program_mut(name).unwrap();
        let program: &mut SchedClassifier = program.try_into().unwrap();
        if program.fd().is_err() {
            program.load().unwrap();
        }
        program
    }

    /// By TCX, or where there is none, on a clsact qdisc.
    fn attach_tc(&mut self, name: &str, interface: &str, direction: TcAttachType) {
        if !has_tcx() {
            sh(&format!("tc qdisc add dev {interface} clsact"));
        }
        self.classifier(name).attach(interface, direction).unwrap();
    }

    /// The XDP programs that this kernel takes: one for packets in several buffers came with Linux
    /// 5.18.
    fn xdp_names(&mut self) -> Vec<&'static str> {
        XDP.into_iter().filter(|name| *name == XDP[0] || self.has_several_buffers()).collect()
    }

    fn has_several_buffers(&mut self) -> bool {
        let program: &mut Xdp = self.object.program_mut(XDP[1]).unwrap().try_into().unwrap();
        program.fd().is_ok() || program.load().is_ok()
    }

    fn run_xdp(&mut self, name: &str, packet: &[u8]) -> u32 {
        check_untouched(packet, |options| self.xdp(name).test_run(options))
    }

    fn run_tc(&mut self, name: &str, packet: &[u8]) -> u32 {
        check_untouched(packet, |options| self.classifier(name).test_run(options))
    }

    /// Everything that was counted so far, failures of the kernel side included.
    fn counts(&mut self) -> Counts {
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
    fn counted(&mut self, run: impl FnOnce(&mut Self)) -> Counts {
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

fn map<'a>(object: &'a mut Ebpf, name: &str) -> &'a mut Map {
    object.map_mut(name).unwrap_or_else(|| panic!("no map {name}"))
}

/// Runs a program on a packet, which must come out as it went in. Returns what the program says.
fn check_untouched(
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
            for protocol in Protocol::ALL {
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

fn series(port: u16, protocol: Protocol, direction: Direction, side: Side) -> String {
    format!("{port} {} {} {}", protocol.name(), direction.name(), side.name())
}

/// What a packet of so many bytes should add to the counters.
fn expected(
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

fn is_watched(port: u16) -> bool {
    [FIRST, SECOND].contains(&port)
}

fn every_shape() -> Vec<Shape> {
    shapes(FIRST, SECOND, OTHER)
}

#[test]
fn xdp_counts_and_passes_every_shape() {
    for mut programs in Programs::in_every_state(&[FIRST, SECOND]) {
        let names = programs.xdp_names();
        // The second time, the conversation of a packet is known.
        for shape in every_shape().into_iter().flat_map(|shape| [shape.clone(), shape]) {
            for program in names.iter().copied() {
                let counted = programs.counted(|programs| {
                    let verdict = programs.run_xdp(program, &shape.frame);
                    assert_eq!(verdict, XDP_PASS, "{program}: {}", shape.name);
                });
                let expected =
                    expected(shape.outcome, is_watched, Direction::Ingress, shape.frame.len());
                assert_eq!(counted, expected, "{program}: {}", shape.name);
            }
        }
    }
}

#[test]
fn tc_counts_and_leaves_every_shape_to_others() {
    for mut programs in Programs::in_every_state(&[FIRST, SECOND]) {
        for shape in accepted_by_tc().flat_map(|shape| [shape.clone(), shape]) {
            for (program, direction) in TC {
                let counted = programs.counted(|programs| {
                    let verdict = programs.run_tc(program, &shape.frame);
                    assert_eq!(verdict, NEXT, "{program}: {}", shape.name);
                });
                let expected = expected(shape.outcome, is_watched, direction, shape.frame.len());
                assert_eq!(counted, expected, "{program}: {}", shape.name);
            }
        }
    }
}

/// Shapes that a test run of TC accepts: newer kernels refuse an IP header that is cut short. Those
/// shapes are for real packets.
fn accepted_by_tc() -> impl Iterator<Item = Shape> {
    every_shape().into_iter().filter(|shape| {
        let ethertype = [shape.frame[12], shape.frame[13]];
        is_accepted_by_tc(ethertype, &shape.frame)
    })
}

/// Whether a packet of that protocol can be given to a test run, which takes its first 14 bytes for
/// an Ethernet header.
fn is_accepted_by_tc(ethertype: [u8; 2], packet: &[u8]) -> bool {
    let ip_len = match ethertype {
        [0x08, 0x00] => 20,
        [0x86, 0xdd] => 40,
        _ => 0,
    };
    packet.len() >= 14 + ip_len
}

/// A test run takes the packet's protocol from where an Ethernet header has it, whatever the
/// packet starts with: here, from the sender's address.
#[test]
fn tc_counts_packets_without_a_link_header() {
    const ETHERNET: usize = 14;
    let mut programs = Programs::watching([FIRST, SECOND]);
    let mut runs = 0;
    for shape in accepted_by_tc() {
        let ethertype = [shape.frame[12], shape.frame[13]];
        let mut packet = shape.frame[ETHERNET..].to_vec();
        let is_ip = matches!(ethertype, [0x08, 0x00] | [0x86, 0xdd]);
        if !is_ip || !is_accepted_by_tc(ethertype, &packet) {
            continue;
        }
        packet[12..14].copy_from_slice(&ethertype);
        for (program, direction) in TC_IP {
            let counted = programs.counted(|programs| {
                let verdict = programs.run_tc(program, &packet);
                assert_eq!(verdict, NEXT, "{program}: {}", shape.name);
            });
            let expected = expected(shape.outcome, is_watched, direction, packet.len());
            assert_eq!(counted, expected, "{program}: {}", shape.name);
            runs += 1;
        }
    }
    assert!(runs > 80, "only {runs} runs");
}

#[test]
fn every_port_can_be_watched() {
    let mut programs = Programs::watching(1..=u16::MAX);
    let ends = [(1, u16::MAX), (u16::MAX, 0), (0, 0), (0, 1), (FIRST, FIRST), (OTHER, 443)];
    for (source, destination) in ends {
        let frame = plain_udp(source, destination);
        let outcome = Outcome::Segment { protocol: "udp", source, destination, attempt: false };
        let watched = |port| port != 0;
        let counted = programs.counted(|programs| {
            programs.run_xdp("xdp_ingress", &frame);
        });
        assert_eq!(counted, expected(outcome, watched, Direction::Ingress, frame.len()));
        let counted = programs.counted(|programs| {
            programs.run_tc("tc_egress", &frame);
        });
        assert_eq!(counted, expected(outcome, watched, Direction::Egress, frame.len()));
    }
}

#[test]
fn counts_the_first_and_the_last_port() {
    let mut programs = Programs::watching([0, u16::MAX]);
    for (source, destination) in [(0, u16::MAX), (u16::MAX, 0), (1, 0), (0, 1), (1, u16::MAX - 1)] {
        let frame = syn(source, destination);
        let outcome = Outcome::Segment { protocol: "tcp", source, destination, attempt: true };
        let counted = programs.counted(|programs| {
            programs.run_xdp("xdp_ingress", &frame);
        });
        let watched = |port| matches!(port, 0 | u16::MAX);
        assert_eq!(counted, expected(outcome, watched, Direction::Ingress, frame.len()));
    }
}

/// Neighbours in the set, in a word of it and in the pairs of slots.
#[test]
fn counts_only_watched_ports() {
    const WATCHED: [u16; 7] = [63, 64, 127, 256, 2948, 2949, 32768];
    let mut programs = Programs::watching(WATCHED);
    for destination in (0..=u16::MAX).filter(|port| {
        WATCHED.iter().any(|watched| {
            watched.abs_diff(*port) <= 2
                || watched.swap_bytes() == *port
                || (watched ^ port).is_power_of_two()
        })
    }) {
        let frame = plain_udp(0, destination);
        let counted = programs.counted(|programs| {
            programs.run_xdp("xdp_ingress", &frame);
        });
        let outcome = Outcome::Segment { protocol: "udp", source: 0, destination, attempt: false };
        let watched = |port| WATCHED.contains(&port);
        let expected = expected(outcome, watched, Direction::Ingress, frame.len());
        assert_eq!(counted, expected, "port {destination}");
    }
}

#[test]
fn counts_unclassified_packets_by_cause() {
    const ELSEWHERE: u32 = 4242;
    let mut programs = Programs::on(ELSEWHERE, [FIRST]);
    let frame = plain_udp(OTHER, FIRST);
    let counted = programs.counted(|programs| {
        assert_eq!(programs.run_xdp("xdp_ingress", &frame), XDP_PASS);
        assert_eq!(programs.run_tc("tc_ingress", &frame), NEXT);
    });
    assert_eq!(counted, Counts::from([("error interface_missing".to_owned(), 2)]));

    // A port that is watched before it has an index.
    let mut programs = Programs::watching([FIRST]);
    let mut set: Array<_, [u64; 1024]> =
        map(&mut programs.object, ".bss.port_set").try_into().unwrap();
    let both: PortSet = [FIRST, SECOND].into_iter().collect();
    set.set(0, bytemuck::cast::<PortSet, [u64; 1024]>(both), 0).unwrap();
    let frame = plain_udp(FIRST, SECOND);
    let counted = programs.counted(|programs| {
        assert_eq!(programs.run_xdp("xdp_ingress", &frame), XDP_PASS);
    });
    let outcome =
        Outcome::Segment { protocol: "udp", source: FIRST, destination: SECOND, attempt: false };
    let mut wanted = expected(outcome, |port| port == FIRST, Direction::Ingress, frame.len());
    wanted.insert("error slot_missing".to_owned(), 1);
    assert_eq!(counted, wanted);
}

/// `struct __sk_buff` of `include/uapi/linux/bpf.h`, as a context to start from.
#[derive(Default)]
struct SocketBuffer {
    gso_segs: u32,
    gso_size: u32,
    /// Bytes in the contiguous part; 0 for all.
    contiguous: u32,
}

impl SocketBuffer {
    fn bytes(&self) -> [u8; 192] {
        let mut bytes = [0; 192];
        let fields = [(80, self.contiguous), (164, self.gso_segs), (176, self.gso_size)];
        for (offset, value) in fields {
            bytes[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        }
        bytes
    }
}

#[test]
fn counts_super_packets_by_segments() {
    // Ethernet, IPv4 and TCP with 20 bytes of options: 74 bytes before the payload.
    const HEADERS: u64 = 14 + 20 + 40;
    let mut frame = syn_with_payload(3000);
    frame[14 + 20 + 12] = 10 << 4;
    let len = frame.len() as u64;
    let mut programs = Programs::watching([FIRST]);
    let cases = [
        (SocketBuffer { gso_segs: 3, gso_size: 1000, ..Default::default() }, 3),
        // A source that cannot be trusted gives no count.
        (SocketBuffer { gso_size: 1000, ..Default::default() }, (len - HEADERS).div_ceil(1000)),
        (SocketBuffer { gso_size: 60000, ..Default::default() }, 1),
        (SocketBuffer::default(), 1),
    ];
    for (buffer, segments) in cases {
        for (program, direction) in TC {
            let counted = programs.counted(|programs| {
                let context = buffer.bytes();
                let verdict = check_untouched(&frame, |options| {
                    let ctx_in = Some(context.as_slice());
                    programs.classifier(program).test_run(TestRunOptions { ctx_in, ..options })
                });
                assert_eq!(verdict, NEXT);
            });
            let side = match direction {
                Direction::Ingress => Side::Local,
                Direction::Egress => Side::Remote,
            };
            let name = series(FIRST, Protocol::Tcp, direction, side);
            let expected = Counts::from([
                (format!("{name} packets"), segments),
                (format!("{name} bytes"), len + (segments - 1) * HEADERS),
                (format!("{name} attempts"), segments),
            ]);
            assert_eq!(counted, expected, "{program}: {segments} segments");
        }
    }
}

/// A SYN from a port that is not watched to one that is, with so many bytes after its header.
fn syn_with_payload(len: usize) -> Vec<u8> {
    let mut frame = syn(OTHER, FIRST);
    frame.resize(frame.len() + len, 0x5a);
    let datagram_len = (frame.len() - 14) as u16;
    frame[16..18].copy_from_slice(&datagram_len.to_be_bytes());
    frame
}

/// A multi-buffer packet, whose size is more than its first buffer holds.
#[test]
fn xdp_counts_packets_in_several_buffers() {
    let mut programs = Programs::watching([FIRST]);
    if !programs.has_several_buffers() {
        return eprintln!("skipped: this kernel's XDP has packets in one buffer only");
    }
    let frame = syn_with_payload(9000);
    let counted = programs.counted(|programs| {
        assert_eq!(programs.run_xdp("xdp_ingress_frags", &frame), XDP_PASS);
    });
    let outcome =
        Outcome::Segment { protocol: "tcp", source: OTHER, destination: FIRST, attempt: true };
    let watched = |port| port == FIRST;
    assert_eq!(counted, expected(outcome, watched, Direction::Ingress, frame.len()));
}

/// Cut before every byte of their headers, from the first that a test run accepts: by a kernel that
/// lets a test say how much of a packet is contiguous.
#[test]
fn tc_reads_headers_that_are_not_contiguous() {
    let mut programs = Programs::watching([FIRST, SECOND]);
    let mut accepted = 0;
    for shape in accepted_by_tc() {
        for contiguous in 14..shape.frame.len().min(120) {
            let context =
                SocketBuffer { contiguous: contiguous as u32, ..Default::default() }.bytes();
            let before = programs.counts();
            let options = TestRunOptions {
                data_in: Some(&shape.frame),
                ctx_in: Some(&context),
                ..TestRunOptions::new()
            };
            match programs.classifier("tc_ingress").test_run(options) {
                Ok(result) => assert_eq!(result.return_value, NEXT),
                Err(ProgramError::SyscallError(error))
                    if error.io_error.kind() == io::ErrorKind::InvalidInput =>
                {
                    continue;
                }
                Err(error) => panic!("{error}"),
            }
            accepted += 1;
            let mut counted = programs.counts();
            counted.retain(|name, count| {
                *count -= before.get(name).unwrap_or(&0);
                *count > 0
            });
            let len = shape.frame.len();
            let expected = expected(shape.outcome, is_watched, Direction::Ingress, len);
            assert_eq!(counted, expected, "{}, {contiguous} contiguous", shape.name);
        }
    }
    if accepted == 0 {
        eprintln!("skipped: this kernel makes contiguous packets only");
    }
}

/// The same by real packets, on every kernel.
#[test]
fn tc_reads_headers_in_the_fragments_of_a_real_packet() {
    in_world(|_| {
        sh("ip link add gp0 mtu 9000 type veth peer name gp1 mtu 9000");
        for interface in ["gp0", "gp1"] {
            set_sysctl(&format!("net/ipv6/conf/{interface}/disable_ipv6"), "1");
            sh(&format!("ip link set {interface} up"));
        }
        let ends = [
            ("gp0", "tc_egress", TcAttachType::Egress),
            ("gp1", "tc_ingress", TcAttachType::Ingress),
        ];
        let mut attached = ends.map(|(interface, name, kind)| {
            let mut programs = Programs::on(index_of(interface), [FIRST, SECOND]);
            programs.attach_tc(name, interface, kind);
            programs
        });
        let wire = SplitWire::open("gp0");
        for shape in every_shape().into_iter().filter(|shape| shape.reaches_tc_ingress) {
            let mut frame = shape.frame;
            if matches!(shape.outcome, Outcome::Unclassified("truncated")) {
                // Any tail would complete the header.
                continue;
            }
            frame.resize(6000, 0);
            let [egress, ingress] = &mut attached;
            let mut counted_ingress = Counts::new();
            let counted_egress = egress.counted(|_| {
                counted_ingress = ingress.counted(|_| wire.send(&frame));
            });
            let expected = |direction| expected(shape.outcome, is_watched, direction, frame.len());
            assert_eq!(counted_egress, expected(Direction::Egress), "{}", shape.name);
            assert_eq!(counted_ingress, expected(Direction::Ingress), "{}", shape.name);
        }
    });
}

/// Interfaces whose index is too large for the table find their counters by the hash.
#[test]
fn counts_on_interfaces_with_large_indices() {
    const INDICES: [u32; 2] = [NEAR_INTERFACES, 70_000];
    in_world(|_| {
        let [first, second] = INDICES;
        sh(&format!("ip link add gp0 index {first} type veth peer name gp1 index {second}"));
        for interface in ["gp0", "gp1"] {
            set_sysctl(&format!("net/ipv6/conf/{interface}/disable_ipv6"), "1");
            sh(&format!("ip link set {interface} up"));
        }
        let mut sender = Programs::on(first, [FIRST, SECOND]);
        sender.attach_tc("tc_egress", "gp0", TcAttachType::Egress);
        let mut receiver = Programs::on(second, [FIRST, SECOND]);
        receiver.xdp("xdp_ingress").attach_to_if_index(second, XdpMode::Driver).unwrap();
        let wire = Wire::open("gp0");
        for shape in every_shape() {
            let mut received = Counts::new();
            let sent = sender.counted(|_| {
                received = receiver.counted(|_| wire.send(&shape.frame));
            });
            let expected =
                |direction| expected(shape.outcome, is_watched, direction, shape.frame.len());
            assert_eq!(sent, expected(Direction::Egress), "{}", shape.name);
            assert_eq!(received, expected(Direction::Ingress), "{}", shape.name);
        }
    });
}
