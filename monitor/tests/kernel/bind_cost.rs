//! What it costs a program that its binds are seen: a measurement that asserts nothing about time.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, UdpSocket},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    process::{Pid, Signal, kill_process},
    time::{ClockId, clock_gettime},
};
use testkit::{
    agent::{Agent, Config, repeats},
    child::forked,
    eventually_within, is_emulated, scaled,
    world::{World, in_world, port},
};

/// Pairs of measurements, without and with the watcher. An emulator that counts instructions counts
/// the same each time.
fn rounds() -> usize {
    if is_emulated() { 3 } else { 7 }
}

/// What is measured: in a guest, time goes on by a nanosecond with every instruction.
fn unit() -> &'static str {
    if is_emulated() { "instructions" } else { "ns" }
}

/// Cycles that every watcher's buffer has room for, and those before the ones that are measured.
const BATCH: u64 = 400;
const WARM_UP: u64 = 20;

/// bcc's tool for the same purpose, of Debian's package libbpf-tools.
const BINDSNOOP: &str = "bindsnoop";

const WATCHERS: [&str; 5] = ["fexit", "kprobe", "cgroup", "tracepoint", "bindsnoop"];

fn watched() -> u16 {
    port(0)
}

fn unwatched() -> u16 {
    port(1)
}

/// A program that observes binds until this is dropped.
enum Watcher {
    Agent(Agent),
    Bindsnoop(Child),
}

impl Watcher {
    /// Starts one; an error is the reason why it cannot work here.
    fn start(world: &World, name: &str) -> Result<Self, String> {
        if name == "bindsnoop" { Self::bindsnoop() } else { Self::agent(world, name) }
    }

    fn agent(world: &World, mechanism: &str) -> Result<Self, String> {
        let mechanism = WATCHERS.into_iter().find(|name| *name == mechanism).expect("known");
        let agent = Agent::start(world, &Config::new([watched()]).mechanism(mechanism));
        match agent.metrics().mechanism("bind", None) {
            Some(attached) if attached == mechanism => Ok(Self::Agent(agent)),
            _ => Err("the kernel refuses it".to_owned()),
        }
    }

    fn bindsnoop() -> Result<Self, String> {
        // It says nothing when it is ready.
        const TIME_TO_ATTACH: Duration = Duration::from_secs(6);
        let mut child = Command::new(BINDSNOOP)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{BINDSNOOP} of libbpf-tools: {error}"))?;
        // Read as a terminal would.
        let output = BufReader::new(child.stdout.take().expect("piped"));
        thread::spawn(move || output.lines().map_while(Result::ok).for_each(drop));
        thread::sleep(TIME_TO_ATTACH);
        match child.try_wait() {
            Ok(None) => Ok(Self::Bindsnoop(child)),
            Ok(Some(status)) => Err(format!("it ended with {status}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn signal(&self, signal: Signal) {
        match self {
            Self::Agent(agent) => agent.signal(signal),
            Self::Bindsnoop(child) => {
                kill_process(Pid::from_child(child), signal).expect("signalled");
            }
        }
    }

    fn stop(self) {
        match self {
            Self::Agent(agent) => drop(agent.terminate()),
            Self::Bindsnoop(mut child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// CPU time for one cycle of socket, bind and close, in nanoseconds. What the hooks do is done in it.
/// What the watcher makes of it is done by others, who do nothing meanwhile.
fn cycle(port: u16, watcher: Option<&Watcher>) -> f64 {
    let batches = (scaled(50_000) / BATCH).max(3);
    // Until the kernel has what it makes sockets of at hand.
    let _ = batch(port, watcher);
    let nanoseconds: i64 = (0..batches).map(|_| batch(port, watcher)).sum();
    nanoseconds as f64 / (batches * BATCH) as f64
}

fn batch(port: u16, watcher: Option<&Watcher>) -> i64 {
    let order = |signal| watcher.map_or((), |watcher| watcher.signal(signal));
    order(Signal::STOP);
    let (mut answer, mut question) = io::pipe().expect("a pipe");
    // By the only thread of a process, as most programs are.
    let child = forked(|| {
        let cycles = |count| (0..count).all(|_| bind(port).is_ok());
        let is_warm = cycles(WARM_UP);
        let start = clock_gettime(ClockId::ThreadCPUTime);
        let is_done = cycles(BATCH);
        let end = clock_gettime(ClockId::ThreadCPUTime);
        let took = (end.tv_sec - start.tv_sec) * 1_000_000_000 + end.tv_nsec - start.tv_nsec;
        is_warm && is_done && question.write_all(&took.to_ne_bytes()).is_ok()
    });
    assert!(child.is_some(), "a bind failed");
    let mut took = [0; 8];
    answer.read_exact(&mut took).expect("the time that it took");
    order(Signal::CONT);
    if watcher.is_some() {
        // To read what there is.
        thread::sleep(Duration::from_millis(1_000 / scaled(100)));
    }
    i64::from_ne_bytes(took)
}

fn bind(port: u16) -> io::Result<UdpSocket> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, port))
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Pairs for one port: without, with, and their ratio.
#[derive(Default)]
struct Pairs {
    without: Vec<f64>,
    with: Vec<f64>,
    ratio: Vec<f64>,
}

impl Pairs {
    fn add(&mut self, without: f64, with: f64) {
        self.without.push(without);
        self.with.push(with);
        self.ratio.push(with / without);
    }

    fn cells(&mut self) -> String {
        let (without, with) = (median(&mut self.without), median(&mut self.with));
        format!("{without:.0} | {with:.0} | {:.2}", median(&mut self.ratio))
    }
}

fn row(world: &World, name: &str) -> Result<String, String> {
    let (mut other, mut ours) = (Pairs::default(), Pairs::default());
    for _ in 0..rounds() {
        let bare = [unwatched(), watched()].map(|port| cycle(port, None));
        let watcher = Watcher::start(world, name)?;
        let seen = [unwatched(), watched()].map(|port| cycle(port, Some(&watcher)));
        watcher.stop();
        other.add(bare[0], seen[0]);
        ours.add(bare[1], seen[1]);
    }
    Ok(format!("{} | {}", other.cells(), ours.cells()))
}

/// Binds in a loop, as fast as possible, while the agent reads. Every call is reported, by itself or
/// in the count of an event, or counted as lost.
fn burst(world: &World, mechanism: &str) -> Result<String, String> {
    const LIMIT: Duration = Duration::from_secs(300);
    let cycles = scaled(200_000);
    let Watcher::Agent(agent) = Watcher::agent(world, mechanism)? else { unreachable!() };
    // Counters outlive agents, and so does the file of events.
    let before = agent.metrics();
    let told = || {
        let (mut events, mut calls) = (0, 0);
        for event in agent.events() {
            if event["event.name"] == "ghostport.bind" || event["event.name"] == "ghostport.close" {
                events += 1;
                calls += repeats(&event);
            }
        }
        (events, calls)
    };
    let (events_before, told_before) = told();
    let start = Instant::now();
    for _ in 0..cycles {
        drop(bind(watched()).expect("a free port"));
    }
    let took = start.elapsed();
    let mut last = (u64::MAX, u64::MAX);
    let now = eventually_within(LIMIT, "every call to be told or lost", || {
        thread::sleep(Duration::from_secs(2));
        let before = std::mem::replace(&mut last, told());
        (before == last).then(|| agent.metrics())
    });
    let grown = |name| now.sum(name, &[]) - before.sum(name, &[]);
    let (binds, lost) = (grown("ghostport_binds_total"), grown("ghostport_events_lost_total"));
    let calls = binds + grown("ghostport_closes_total");
    let (events, told) = (last.0 - events_before, last.1 - told_before);
    assert_eq!(binds, cycles, "binds that were counted, by {mechanism}");
    // What follows from calls may be lost as well.
    assert!(told + lost >= calls, "{told} told and {lost} lost of {calls}, by {mechanism}");
    let _ = agent.terminate();
    let rate = cycles as f64 / took.as_secs_f64();
    Ok(format!("{cycles} | {rate:.0} | {calls} | {told} | {events} | {lost}"))
}

#[test]
#[ignore = "a measurement: cargo xtask bench bind"]
fn measures_a_burst_of_binds() {
    in_world(|world| {
        println!("## A burst of binds\n");
        let rate = if is_emulated() { "in 10⁹ instructions" } else { "a second" };
        println!(
            "| watcher | cycles | {rate} | calls, all counted | reported | in events | events lost |"
        );
        println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
        for mechanism in WATCHERS.into_iter().filter(|watcher| *watcher != BINDSNOOP) {
            match burst(world, mechanism) {
                Ok(cells) => println!("| {mechanism} | {cells} |"),
                Err(why) => println!("| {mechanism} | {why} | | | | | |"),
            }
        }
    });
}

#[test]
#[ignore = "a measurement: cargo xtask bench bind"]
fn measures_the_cost_of_a_bind() {
    in_world(|world| {
        let kernel = rustix::system::uname();
        println!(
            "## A cycle of socket, bind and close on Linux {}, {}\n",
            kernel.release().to_string_lossy(),
            unit()
        );
        println!(
            "| watcher | other port, without | with | ratio | watched port, without | with | ratio |"
        );
        println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
        for name in WATCHERS {
            match row(world, name) {
                Ok(cells) => println!("| {name} | {cells} |"),
                Err(why) => println!("| {name} | {why} | | | | | |"),
            }
            let _ = io::stdout().flush();
        }
    });
}
