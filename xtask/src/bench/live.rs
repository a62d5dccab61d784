//! Live frames over a veth pair: our ingress program at the receiving end, and what it is compared
//! with, in turn.

use std::{fs, path::Path, process::Command, time::Instant};

use anyhow::{Context as _, Result, ensure};
use aya::programs::{Xdp, XdpMode};
use monitor_common::flow::Protocol;

use super::{
    frames,
    network::{FIVE_PORTS, RECEIVER, RECEIVER_MAC, SENDER_MAC, UNWATCHED, WATCHED},
    programs::{Counting, load, program, run_live},
    stats::{Table, median, quantile},
};
use crate::workspace::succeed;

/// Ends of the pair.
const SENDING: &str = "gb0";
const RECEIVING: &str = "gb1";

const HALF_SECONDS: f64 = 1.0;

/// Two programs that do the same to a packet, one of them after counting it.
struct Comparison {
    name: &'static str,
    /// Of the object `testing`.
    without: &'static str,
    /// Object and program.
    with: (&'static str, &'static str),
    port: u16,
    target: &'static str,
}

const COMPARISONS: &[Comparison] = &[
    Comparison {
        name: "drop, other port",
        without: "xdp_drop",
        with: ("testing", "xdp_ingress_drop"),
        port: UNWATCHED,
        target: "≥ 97 %",
    },
    Comparison {
        name: "drop, watched port",
        without: "xdp_drop",
        with: ("testing", "xdp_ingress_drop"),
        port: WATCHED,
        target: "≥ 94 %",
    },
    Comparison {
        name: "pass to the stack, other port",
        without: "xdp_pass",
        with: ("ghostport", "xdp_ingress"),
        port: UNWATCHED,
        target: "",
    },
    Comparison {
        name: "pass to the stack, watched port",
        without: "xdp_pass",
        with: ("ghostport", "xdp_ingress"),
        port: WATCHED,
        target: "",
    },
];

pub(super) fn measure(objects: &Path, pairs: usize) -> Result<()> {
    let (sending, receiving) = connect()?;
    let mut table =
        Table::new(&["UDP in frames of 60 bytes", "without", "with", "ratio", "spread", "target"]);
    for comparison in COMPARISONS {
        let (without, with) = comparison.run(objects, sending, receiving, pairs)?;
        let ratios: Vec<f64> =
            with.iter().zip(&without).map(|(with, without)| with / without).collect();
        let spread = quantile(&ratios, 0.75) - quantile(&ratios, 0.25);
        table.row([
            comparison.name.to_owned(),
            format!("{:.2} Mpps", median(&without) / 1e6),
            format!("{:.2} Mpps", median(&with) / 1e6),
            format!("{:.1} %", median(&ratios) * 100.0),
            format!("{:.1} %", spread * 100.0),
            comparison.target.to_owned(),
        ]);
    }
    eprintln!();
    table.print(&format!(
        "Live frames over veth: received without and with our ingress program \
         (medians of {pairs} interleaved pairs of {HALF_SECONDS:.0} s; sender and receiver share a CPU)"
    ));
    Ok(())
}

/// Makes the pair; it ends with the namespace. Returns the indices of its ends.
fn connect() -> Result<(u32, u32)> {
    let mac = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
    let (sending_mac, receiving_mac) = (mac(SENDER_MAC), mac(RECEIVER_MAC));
    ip(&format!(
        "link add {SENDING} address {sending_mac} type veth peer {RECEIVING} address {receiving_mac}"
    ))?;
    for end in [SENDING, RECEIVING] {
        // IPv6 sends packets of its own accord.
        fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1")?;
        ip(&format!("link set {end} up"))?;
    }
    let [a, b, c, d] = RECEIVER;
    ip(&format!("address add {a}.{b}.{c}.{d}/30 dev {RECEIVING}"))?;
    Ok((index_of(SENDING)?, index_of(RECEIVING)?))
}

fn ip(arguments: &str) -> Result<()> {
    succeed(Command::new("ip").args(arguments.split(' ')))
}

fn index_of(interface: &str) -> Result<u32> {
    let output = Command::new("ip").args(["-o", "link", "show", interface]).output()?;
    let line = String::from_utf8(output.stdout)?;
    let index = line.split(':').next().and_then(|index| index.parse().ok());
    index.with_context(|| format!("ip says nothing of {interface}"))
}

impl Comparison {
    /// Packets a second of each half of each pair, without and with our program.
    fn run(
        &self,
        objects: &Path,
        sending: u32,
        receiving: u32,
        pairs: usize,
    ) -> Result<(Vec<f64>, Vec<f64>)> {
        let mut testing = load(&objects.join("testing"))?;
        let mut sender = load(&objects.join("testing"))?;
        let sender = program(&mut sender, "xdp_tx")?;
        let (object, name) = self.with;
        let mut counting =
            Counting::load(&objects.join(object), FIVE_PORTS.to_vec(), receiving, true)?;
        let frame = frames::udp(self.port);
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for pair in 0..pairs {
            eprint!("\rbench: live, {}, pair {} of {pairs}    ", self.name, pair + 1);
            // What comes second inherits a warm machine: take turns.
            for half in [pair % 2, (pair + 1) % 2] {
                if half == 0 {
                    let program = program(&mut testing, self.without)?;
                    without
                        .push(throughput(program, sender, &frame, sending, receiving)?.per_second);
                } else {
                    let before = counting.packets_to(self.port, Protocol::Udp)?;
                    let program = counting.program(name)?;
                    let result = throughput(program, sender, &frame, sending, receiving)?;
                    let counted = counting.packets_to(self.port, Protocol::Udp)? - before;
                    ensure!(
                        self.port == UNWATCHED || counted == result.received,
                        "{} received, {counted} counted",
                        result.received
                    );
                    with.push(result.per_second);
                }
            }
        }
        Ok((without, with))
    }
}

struct Throughput {
    received: u64,
    per_second: f64,
}

/// Sends as fast as the receiving end takes.
fn throughput(
    receiver: &mut Xdp,
    sender: &Xdp,
    frame: &[u8],
    sending: u32,
    receiving: u32,
) -> Result<Throughput> {
    const CHUNK: u32 = 1 << 17;
    let link = receiver.attach_to_if_index(receiving, XdpMode::Driver)?;
    run_live(sender, frame, sending, CHUNK)?;
    let before = received_packets()?;
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < HALF_SECONDS {
        run_live(sender, frame, sending, CHUNK)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let received = received_packets()? - before;
    receiver.detach(link)?;
    let total = received + u64::from(CHUNK);
    Ok(Throughput { received: total, per_second: received as f64 / seconds })
}

fn received_packets() -> Result<u64> {
    let table = fs::read_to_string("/proc/self/net/dev")?;
    let line = table
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(RECEIVING)?.strip_prefix(':'))
        .with_context(|| format!("no {RECEIVING} in /proc/net/dev"))?;
    let packets = line.split_ascii_whitespace().nth(1).context("no packets in /proc/net/dev")?;
    Ok(packets.parse()?)
}
