//! Packets that are several in one, and packets that are not contiguous.

use std::io;

use aya::{
    TestRun as _,
    programs::{ProgramError, TcAttachType, TestRunOptions},
};
use monitor_common::flow::{Direction, Protocol, Side};
use testkit::{
    frames::Outcome,
    sh,
    wire::{SplitWire, index_of},
    world::{in_world, set_sysctl},
};

use super::support::{
    Counts, FIRST, NEXT, OTHER, Programs, SECOND, TC, XDP_PASS, accepted_by_tc, check_untouched,
    every_shape, expected, is_watched, series, syn_with_payload,
};

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
