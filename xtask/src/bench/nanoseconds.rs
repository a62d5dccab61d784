//! Nanoseconds a packet by `BPF_PROG_TEST_RUN`: our ingress programs less an empty one of the same
//! hook, beside the floor, which is the least that counting can cost.

use std::path::Path;

use anyhow::Result;
use aya::{
    Ebpf,
    programs::{Program, ProgramError, SchedClassifier, Xdp},
};

use super::{
    frames,
    network::{FIVE_PORTS, UNWATCHED, WATCHED},
    programs::{Counting, Measured, load, program, run_time},
    stats::{Table, median, quantile},
};

/// The loopback interface, which every network namespace has, and which packets of a test run that
/// says nothing of an interface come from.
const LOOPBACK: u32 = 1;

/// Times the floor that is allowed.
const FLOORS: f64 = 1.9;

struct Case {
    name: &'static str,
    frame: Vec<u8>,
    /// Nanoseconds over the empty program that are allowed on an EPYC; counted alone.
    targets: Option<[f64; 2]>,
    /// Whether the floor knows packets of this shape.
    has_floor: bool,
}

/// What is compared at one hook.
struct Hook {
    name: &'static str,
    empty: &'static str,
    ours: &'static str,
    /// Counting alone, and with the conversation.
    floors: [&'static str; 2],
}

const XDP: Hook = Hook {
    name: "xdp_ingress",
    empty: "xdp_pass",
    ours: "xdp_ingress",
    floors: ["xdp_floor", "xdp_floor_observing"],
};

const TC: Hook = Hook {
    name: "tc_ingress",
    empty: "tc_foreign",
    ours: "tc_ingress",
    floors: ["tc_floor", "tc_floor_observing"],
};

/// Nanoseconds over the empty program, sample by sample.
#[derive(Clone, Default)]
struct Samples {
    five: Vec<f64>,
    all: Vec<f64>,
    alone: Vec<f64>,
    floor_alone: Vec<f64>,
    floor: Vec<f64>,
}

/// The objects, each with the ports and settings that it is measured with.
struct Objects {
    empty: Ebpf,
    five: Counting,
    all: Counting,
    alone: Counting,
    floor: Counting,
}

impl Objects {
    fn load(folder: &Path) -> Result<Self> {
        let ours =
            |ports, observes| Counting::load(&folder.join("ghostport"), ports, LOOPBACK, observes);
        Ok(Self {
            empty: load(&folder.join("testing"))?,
            five: ours(FIVE_PORTS.to_vec(), true)?,
            all: ours((1..=u16::MAX).collect(), true)?,
            alone: ours(FIVE_PORTS.to_vec(), false)?,
            floor: Counting::load(&folder.join("testing"), FIVE_PORTS.to_vec(), LOOPBACK, true)?,
        })
    }
}

pub(super) fn measure(folder: &Path, rounds: usize, repeat: u32) -> Result<()> {
    let mut objects = Objects::load(folder)?;
    measure_hook::<Xdp>(&mut objects, &XDP, rounds, repeat)?;
    measure_hook::<SchedClassifier>(&mut objects, &TC, rounds, repeat)
}

fn measure_hook<P>(objects: &mut Objects, hook: &Hook, rounds: usize, repeat: u32) -> Result<()>
where
    P: Measured,
    for<'a> &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let cases = cases();
    let mut samples = vec![Samples::default(); cases.len()];
    let mut nothing = Vec::new();
    for round in 0..rounds {
        eprint!("\rbench: nanoseconds, {}, round {} of {rounds}", hook.name, round + 1);
        for (case, samples) in cases.iter().zip(&mut samples) {
            let frame = &case.frame;
            // Each over the empty program of the same moment.
            let mut over = |run: &mut dyn FnMut() -> Result<f64>| -> Result<f64> {
                let empty = run_time(program::<P>(&mut objects.empty, hook.empty)?, frame, repeat)?;
                nothing.push(empty);
                Ok(run()? - empty)
            };
            let Objects { five, all, alone, floor, .. } = objects;
            for (counting, name, samples) in [
                (&mut *five, hook.ours, &mut samples.five),
                (all, hook.ours, &mut samples.all),
                (alone, hook.ours, &mut samples.alone),
            ] {
                samples.push(over(&mut || run_time(counting.program::<P>(name)?, frame, repeat))?);
            }
            if case.has_floor {
                let [counting, observing] = hook.floors;
                for (name, samples) in
                    [(counting, &mut samples.floor_alone), (observing, &mut samples.floor)]
                {
                    samples.push(over(&mut || run_time(floor.program::<P>(name)?, frame, repeat))?);
                }
            }
        }
    }
    eprintln!();
    print(
        hook,
        &cases,
        &samples,
        median(&nothing),
        &format!("{rounds} rounds of {repeat} packets"),
    );
    Ok(())
}

fn print(hook: &Hook, cases: &[Case], samples: &[Samples], nothing: f64, how: &str) {
    let mut table = Table::new(&[
        "packet",
        "5 ports",
        "65,535 ports",
        "spread",
        "floor",
        "ratio",
        "counted alone",
        "floor",
        "ratio",
        "targets",
    ]);
    for (case, samples) in cases.iter().zip(samples) {
        let over = |samples: &[f64]| format!("{:+.1} ns", median(samples));
        let floor = |floor: &[f64], ours: &[f64]| match floor {
            [] => [String::new(), String::new()],
            _ => [over(floor), format!("{:.2}", median(ours) / median(floor))],
        };
        let Samples { five, all, alone, .. } = samples;
        let [least, ratio] = floor(&samples.floor, five);
        let [least_alone, ratio_alone] = floor(&samples.floor_alone, alone);
        table.row([
            case.name.to_owned(),
            over(five),
            over(all),
            format!("{:.1} ns", quantile(five, 0.75) - quantile(five, 0.25)),
            least,
            ratio,
            over(alone),
            least_alone,
            ratio_alone,
            case.targets.map_or_else(String::new, |[all, alone]| {
                format!("≤ {all} and {alone} ns, ≤ {FLOORS} floors")
            }),
        ]);
    }
    table.print(&format!(
        "BPF_PROG_TEST_RUN: {} over an empty program, which takes {nothing:.1} ns (medians of {how})",
        hook.name
    ));
}

fn cases() -> Vec<Case> {
    let case = |name, frame, targets| Case { name, frame, targets, has_floor: false };
    let with_floor = |case: Case| Case { has_floor: true, ..case };
    vec![
        case("not IP", frames::arp(), Some([4.5, 4.5])),
        with_floor(case("other port, UDP", frames::udp(UNWATCHED), Some([4.5, 4.5]))),
        case("other port, TCP", frames::tcp(UNWATCHED), Some([4.5, 4.5])),
        case("other port, IPv6, UDP", frames::ipv6_udp(UNWATCHED), None),
        case("other port, VLAN, UDP", frames::tagged_udp(UNWATCHED), None),
        case(
            "other port, IPv6 with 3 extension headers",
            frames::ipv6_with_extensions(UNWATCHED),
            None,
        ),
        with_floor(case("watched port, UDP", frames::udp(WATCHED), Some([16.0, 9.0]))),
        case("watched port, TCP", frames::tcp(WATCHED), Some([16.0, 9.0])),
        case("watched port, IPv6, UDP", frames::ipv6_udp(WATCHED), None),
        case("watched port, VLAN, UDP", frames::tagged_udp(WATCHED), None),
        case(
            "watched port, IPv6 with 3 extension headers",
            frames::ipv6_with_extensions(WATCHED),
            None,
        ),
    ]
}
