//! Nanoseconds a packet by `BPF_PROG_TEST_RUN`: our ingress program less an empty one.

use std::path::Path;

use anyhow::Result;

use super::{
    frames,
    network::{FIVE_PORTS, UNWATCHED, WATCHED},
    programs::{Counting, load, program, run_time},
    stats::{Table, median, quantile},
};

/// The loopback interface, which every network namespace has, and which packets of a test run that
/// says nothing of an interface come from.
const LOOPBACK: u32 = 1;

struct Case {
    name: &'static str,
    frame: Vec<u8>,
    /// Nanoseconds over the empty program that are allowed.
    target: Option<f64>,
}

pub(super) fn measure(objects: &Path, rounds: usize, repeat: u32) -> Result<()> {
    let cases = cases();
    let mut testing = load(&objects.join("testing"))?;
    let empty = program(&mut testing, "xdp_pass")?;
    let mut sets = Vec::new();
    let all = || (1..=u16::MAX).collect();
    let five = || FIVE_PORTS.to_vec();
    for (ports, observes) in [(five(), true), (all(), true), (five(), false)] {
        let object = objects.join("ghostport");
        let mut counting = Counting::load(&object, ports, LOOPBACK, observes)?;
        counting.program("xdp_ingress")?;
        sets.push(counting);
    }
    // By set and case, over the empty program of the same moment.
    let mut samples = vec![vec![Vec::new(); cases.len()]; sets.len()];
    let mut floor = Vec::new();
    for round in 0..rounds {
        eprint!("\rbench: nanoseconds, round {} of {rounds}", round + 1);
        for (case, number) in cases.iter().zip(0..) {
            for (set, samples) in sets.iter_mut().zip(&mut samples) {
                let nothing = run_time(empty, &case.frame, repeat)?;
                let ours = run_time(set.program("xdp_ingress")?, &case.frame, repeat)?;
                floor.push(nothing);
                samples[number as usize].push(ours - nothing);
            }
        }
    }
    eprintln!();
    let mut table =
        Table::new(&["packet", "5 ports", "65,535 ports", "5, counted alone", "spread", "target"]);
    for (number, case) in cases.iter().enumerate() {
        let [five, all, counted] = [0, 1, 2].map(|set: usize| &samples[set][number]);
        let spread = quantile(five, 0.75) - quantile(five, 0.25);
        table.row([
            case.name.to_owned(),
            format!("{:+.1} ns", median(five)),
            format!("{:+.1} ns", median(all)),
            format!("{:+.1} ns", median(counted)),
            format!("{spread:.1} ns"),
            case.target.map_or_else(String::new, |target| format!("≤ {target:.0} ns")),
        ]);
    }
    table.print(&format!(
        "BPF_PROG_TEST_RUN: xdp_ingress over an empty program, which takes {:.1} ns \
         (medians of {rounds} rounds of {repeat} packets)",
        median(&floor)
    ));
    Ok(())
}

fn cases() -> Vec<Case> {
    let case = |name, frame, target| Case { name, frame, target };
    vec![
        case("not IP", frames::arp(), Some(6.0)),
        case("other port, UDP", frames::udp(UNWATCHED), Some(6.0)),
        case("other port, TCP", frames::tcp(UNWATCHED), Some(6.0)),
        case("other port, VLAN, UDP", frames::tagged_udp(UNWATCHED), None),
        case(
            "other port, IPv6 with 3 extension headers",
            frames::ipv6_with_extensions(UNWATCHED),
            None,
        ),
        case("watched port, UDP", frames::udp(WATCHED), Some(15.0)),
        case("watched port, TCP", frames::tcp(WATCHED), Some(15.0)),
        case("watched port, VLAN, UDP", frames::tagged_udp(WATCHED), None),
        case(
            "watched port, IPv6 with 3 extension headers",
            frames::ipv6_with_extensions(WATCHED),
            None,
        ),
    ]
}
