//! Ten million forged addresses and a few real talkers among them: `cargo xtask bench flood`.

use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use ghostport::api::talker::Talkers;
use monitor_common::flow::Protocol;
use testkit::{
    agent::{Agent, Config},
    eventually,
    frames::{plain_udp, syn},
    metrics::Metrics,
    programs::Attached,
    world::{in_world, port},
};

/// Addresses that send one packet each.
const FORGED: u32 = 10_000_000;
/// As many as the smallest machine that is measured on has CPUs.
const SENDERS: u32 = 2;
/// One packet among so many is of the sender's one real talker.
const TALKS_EVERY: u32 = 200;
/// Where the source address lies in an Ethernet frame without tags.
const SOURCE: std::ops::Range<usize> = 26..30;

/// Standard error of the estimate, of 1.
const STANDARD_ERROR: f64 = 0.046;
/// What the agent may hold more than before, bytes: its answers' buffers, and what a burst of
/// findings needs.
const GROWTH: f64 = 8.0 * 1024.0 * 1024.0;

/// Half of them send a datagram with a payload, half a SYN, and the kernel runs the agent's attached
/// program on every one (`BPF_PROG_TEST_RUN`). Nothing may grow, the packets are counted to the last
/// one, and who really talks is found.
#[test]
#[ignore = "takes a minute of all CPUs: cargo xtask bench flood"]
fn memory_is_bounded_in_a_flood_of_forged_addresses() {
    in_world(|world| {
        let _peer = world.peer();
        let agent = Agent::start(world, &Config::new([port(0)]).on(&["gp0"]).mode("xdp-native"));
        let before = settled(&agent);
        let start = Instant::now();
        let senders: Vec<_> =
            (0..SENDERS).map(|sender| thread::spawn(move || send(sender))).collect();
        let sent: u64 = senders.into_iter().map(|sender| sender.join().expect("a sender")).sum();
        let took = start.elapsed();
        let after = settled(&agent);

        assert_eq!(after.sum("ghostport_packets_total", &[("direction", "ingress")]), sent);
        let half = f64::from(FORGED / SENDERS);
        for protocol in ["udp", "tcp"] {
            let estimate = after.value("ghostport_sources", &[("protocol", protocol)]);
            let error = estimate / half - 1.0;
            println!("{protocol}: {estimate:.0} sources estimated, {:+.1} %", error * 100.0);
            assert!(error.abs() < 4.0 * STANDARD_ERROR, "{estimate} of {half}");
        }
        println!("{sent} packets in {:.1} s", took.as_secs_f64());
        let resident = |metrics: &Metrics| metrics.value("process_resident_memory_bytes", &[]);
        println!("{:.0} bytes resident, then {:.0}", resident(&before), resident(&after));
        assert!(resident(&after) < resident(&before) + GROWTH);
        let told = after.sum("ghostport_payloads_identified_total", &[]);
        let skipped = after.sum("ghostport_payloads_skipped_total", &[]);
        println!("{told} conversations told, {skipped} skipped and counted");
        assert!(
            told + skipped >= u64::from(FORGED),
            "a conversation is told, or counted as skipped"
        );
        assert_talkers(&agent);
    });
}

/// Sends this sender's share, of addresses that no other sends from. Returns how many packets.
fn send(sender: u32) -> u64 {
    let mut program = Attached::xdp("gp0");
    let mut frame = if sender == 0 { plain_udp(9200, port(0)) } else { syn(40_000, port(0)) };
    let mut sent = 0;
    for number in 0..FORGED / SENDERS {
        let forged = Ipv4Addr::from_bits(0x1000_0000 + sender * FORGED + number);
        frame[SOURCE].copy_from_slice(&forged.octets());
        program.run(&frame, 1);
        sent += 1;
        if number % TALKS_EVERY == 0 {
            frame[SOURCE].copy_from_slice(&talker(sender).octets());
            program.run(&frame, 1);
            sent += 1;
        }
    }
    sent
}

const fn talker(sender: u32) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, sender as u8 + 1)
}

/// The agent's page, once two readings of the counters agree.
fn settled(agent: &Agent) -> Metrics {
    let outcome = |metrics: &Metrics| {
        ["ghostport_payloads_identified_total", "ghostport_payloads_skipped_total"]
            .map(|name| metrics.sum(name, &[]))
    };
    eventually("nothing more to come", || {
        let first = agent.metrics();
        thread::sleep(Duration::from_secs(2));
        let second = agent.metrics();
        (outcome(&first) == outcome(&second)).then_some(second)
    })
}

/// Those who really talk come first, with nearly all that they sent.
fn assert_talkers(agent: &Agent) {
    let answer: Talkers = agent.ask(&format!("/api/v1/talkers?port={}", port(0)));
    for (transport, sender) in [(Protocol::Udp, 0), (Protocol::Tcp, 1)] {
        let of_protocol = answer.ports.iter().find(|row| row.transport == transport);
        let first = &of_protocol.expect("a list").talkers[0];
        assert_eq!(first.address, talker(sender), "{answer:?}");
        let (name, packets) = (transport.name(), first.packets_received);
        println!("{name}: {} first, with {packets} packets", first.address);
    }
}
