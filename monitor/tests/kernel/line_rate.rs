//! What a graph shows while ten million packets a second arrive: `cargo xtask bench line-rate`.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use testkit::{
    agent::{Agent, Config, LISTEN},
    eventually,
    frames::plain_udp,
    panels::{Question, answered, for_each_panel, questions},
    programs::Attached,
    prometheus::{Prometheus, Span},
    world::{in_world, port},
};

/// Packets a second, of all senders.
const RATE: u64 = 10_000_000;
/// As many as the smallest machine that is measured on has CPUs.
const SENDERS: u64 = 2;
const LASTS: Duration = Duration::from_secs(60);
/// Packets of one run of the program, at most: two milliseconds' worth or so.
const BURST: u64 = 25_000;
/// Panels of the picture.
const PICTURE: [&str; 2] = [TRAFFIC, "Processor time"];
/// The panel of packets, or of bytes.
const TRAFFIC: &str = "${unit:text} a minute, in up, out down";
/// Seconds at either end in which a rate over four scrapes is also of the time before or after.
const EDGE: u64 = 6;

/// The packets do not come over a wire, which no veth pair is fast enough for: the kernel runs the
/// agent's own program, as it is attached to the interface, on one after the other
/// (`BPF_PROG_TEST_RUN`). Everything from there on is as always: the counters, the agent's page,
/// Prometheus, and the expression of the dashboard.
#[test]
#[ignore = "takes a minute of all CPUs, and measures: cargo xtask bench line-rate"]
fn the_graph_shows_the_line_rate() {
    in_world(|world| {
        let _peer = world.peer();
        let config = Config::new([port(0)]).on(&["gp0"]).mode("xdp-native");
        let agent = Agent::start(world, &config);
        let prometheus = Prometheus::start(world);
        prometheus.scrape(&[&format!("127.0.0.1:{LISTEN}")]);
        eventually("a scrape", || (!prometheus.query("up == 1").is_empty()).then_some(()));

        eprintln!("line rate: {} s of {RATE} packets a second", LASTS.as_secs());
        let senders: Vec<_> = (0..SENDERS)
            .map(|_| thread::spawn(|| send(&mut Attached::xdp("gp0"), LASTS)))
            .collect();
        let sent: u64 = senders.into_iter().map(|sender| sender.join().expect("a sender")).sum();
        // Counted to the last one, whatever a graph shows.
        let labels = [("interface", "gp0"), ("direction", "ingress"), ("protocol", "udp")];
        assert_eq!(agent.metrics().sum("ghostport_packets_total", &labels), sent);

        let seconds = LASTS.as_secs();
        let shown = points(&packets_in(), &prometheus, seconds - EDGE);
        let steady = &shown[EDGE as usize..];
        let sent = sent as f64 / LASTS.as_secs_f64();
        report(sent, steady);
        let mut picture = answered("host", ".*", &prometheus, &Span::last(seconds, 1), "4s");
        let mut panels = Vec::new();
        for_each_panel(&mut picture, |panel, _| {
            panels
                .extend(PICTURE.iter().any(|title| panel["title"] == *title).then(|| panel.take()));
        });
        picture["panels"] = panels.into();
        let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/line-rate.json");
        fs::write(path, picture.to_string()).expect("written");
    });
}

/// Runs a program on packets to the watched port, at this sender's share of the rate. Returns how
/// many there were.
fn send(program: &mut Attached, lasts: Duration) -> u64 {
    let frame = plain_udp(9200, port(0));
    let start = Instant::now();
    let mut sent = 0;
    loop {
        let elapsed = start.elapsed().min(lasts);
        let due = (elapsed.as_nanos() * u128::from(RATE / SENDERS) / 1_000_000_000) as u64;
        let burst = (due - sent).min(BURST);
        if burst > 0 {
            program.run(&frame, burst as u32);
            sent += burst;
        } else if elapsed == lasts {
            return sent;
        } else {
            thread::sleep(Duration::from_millis(1));
        }
        // A machine that is too slow for the rate ends nonetheless.
        if start.elapsed() > lasts * 2 {
            return sent;
        }
    }
}

/// What the panel asks for packets that come in.
fn packets_in() -> Question {
    let of_panel = |question: &Question| {
        question.title == TRAFFIC
            && question.expression.contains("ghostport_packets_total")
            && question.expression.contains("ingress")
    };
    questions("host", "4s").into_iter().find(of_panel).expect("a panel")
}

/// What the graph of the last seconds shows, second by second.
fn points(panel: &Question, prometheus: &Prometheus, seconds: u64) -> Vec<f64> {
    let series = panel.ask(prometheus, &Span::last(seconds, 1));
    let local = series.iter().find(|series| series["metric"]["side"] == "local").expect("a line");
    let values = local["values"].as_array().expect("points").iter();
    let a_minute =
        |point: &Value| point[1].as_str().expect("a number").parse::<f64>().expect("one");
    values.map(|point| a_minute(point) / 60.0).collect()
}

fn report(sent: f64, shown: &[f64]) {
    let off = |shown: f64| (shown / sent - 1.0) * 100.0;
    let lowest = shown.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = shown.iter().copied().fold(0.0, f64::max);
    println!("| packets a second | | off |\n| --- | ---: | ---: |");
    println!("| sent | {sent:.0} | |");
    for (name, value) in [("lowest point of the graph", lowest), ("highest", highest)] {
        println!("| {name} | {value:.0} | {:+.2} % |", off(value));
    }
    println!("| points | {} | target: 1 % |", shown.len());
}
