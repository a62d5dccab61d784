//! Packets of every shape.

use monitor_common::flow::Direction;

use super::support::{
    FIRST, NEXT, Programs, SECOND, TC, XDP_PASS, accepted_by_tc, every_shape, expected,
    is_accepted_by_tc, is_watched,
};

const TC_IP: [(&str, Direction); 2] =
    [("tc_ingress_ip", Direction::Ingress), ("tc_egress_ip", Direction::Egress)];

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
