//! Bursts, and calls while no agent reads.

use std::{
    fs,
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, bind},
    process::Signal,
};
use testkit::{
    agent::{Agent, Config, expect_sockets, is_call, repeats},
    bpf::Map,
    calls::{Call, listening_life, tcp, v4},
    metrics::Counts,
    patience, realtime, scaled,
    world::{in_world, port},
};

use super::bench::Bench;

/// Every socket call was either reported or counted as lost, with the place of the loss.
#[track_caller]
fn assert_accounted(agent: &Agent) {
    let deadline = Instant::now() + patience();
    loop {
        let metrics = agent.metrics();
        let sum = |name| metrics.sum(name, &[]);
        let calls = sum("ghostport_binds_total")
            + sum("ghostport_listens_total")
            + sum("ghostport_closes_total");
        let lost = sum("ghostport_events_lost_total");
        let events = agent.events();
        let told: u64 = events.iter().filter(|event| is_call(event)).map(repeats).sum();
        if told + lost == calls {
            return;
        }
        assert!(Instant::now() < deadline, "{calls} calls, {told} told, {lost} lost");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Several threads produce many times the events that the ring buffer holds, while it is not read.
/// What is beyond the share of a process is summed up.
#[test]
fn counts_a_burst_exactly_and_loses_none_of_it() {
    const BINDS: u64 = 20_000;
    const THREADS: u16 = 4;
    in_world(|world| {
        let mut bench = Bench::start(world, "auto");
        bench.saw("nothing yet", &[]);
        bench.agent.signal(Signal::STOP);
        let succeeded = AtomicU64::new(0);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let succeeded = &succeeded;
                scope.spawn(move || {
                    // Two threads share a port, so that some binds are refused.
                    let address = v4(port(thread % 2));
                    for _ in 0..BINDS / u64::from(THREADS) {
                        if UdpSocket::bind(address).is_ok() {
                            succeeded.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        bench.agent.signal(Signal::CONT);
        let succeeded = succeeded.into_inner();
        assert!(succeeded < BINDS, "no bind was refused");
        bench.agent.socket_events();
        let metrics = bench.agent.metrics();
        let on_ports = |name, labels: &[(&str, &str)]| -> u64 {
            let ports = [port(0), port(1)].map(|port| port.to_string());
            let sum = |port: &String| metrics.sum(name, &[&[("port", &**port)], labels].concat());
            ports.iter().map(sum).sum()
        };
        let binds = |result| on_ports("ghostport_binds_total", &[("result", result)]);
        let closes = on_ports("ghostport_closes_total", &[]);
        let closed = if bench.sees_every_close { succeeded } else { 0 };
        // A kernel that may be preempted does not run a program for one thread that it has left off
        // for another. It counts how often.
        let missed = metrics.sum("ghostport_kernel_errors_total", &[("cause", "call_missed")]);
        let counted = [binds("success"), binds("in_use"), closes];
        let expected = [succeeded, BINDS - succeeded, closed];
        let short = counted.iter().zip(expected).map(|(counted, expected)| {
            expected.checked_sub(*counted).unwrap_or_else(|| panic!("{counted} of {expected}"))
        });
        assert!(short.sum::<u64>() <= missed, "{counted:?} of {expected:?}, {missed} missed");
        assert_eq!(metrics.sum("ghostport_events_lost_total", &[("stage", "ring")]), 0);
        assert_eq!(metrics.sum("ghostport_kernel_errors_total", &[("cause", "ring_full")]), 0);
        assert_accounted(&bench.agent);
        let lines = bench.agent.log().lines().count();
        assert!(lines < 1_000, "{lines} lines of log");
    });
}

/// While a thread is preempted in the middle of `bpf(2)`, a preemptible kernel runs no kprobe program on
/// its CPU (`bpf_disable_instrumentation` in `include/linux/bpf.h`), and counts that since Linux 6.7.
#[test]
fn counts_the_calls_that_a_preempted_bpf_call_hides_from_kprobes() {
    in_world(|world| {
        let bench = match Bench::try_start(world, "kprobe") {
            Ok(bench) => bench,
            Err(why) => return eprintln!("skipped: {why}"),
        };
        let binds = scaled(50_000).max(1_000);
        let address = v4(port(0));
        if bind_over_map_updates(address, binds).is_none() {
            return eprintln!("skipped: no thread may have a priority here");
        }
        bench.agent.socket_events();
        let metrics = bench.agent.metrics();
        let of_port = [("port", &*address.port().to_string())];
        let missed = metrics.sum("ghostport_kernel_errors_total", &[("cause", "call_missed")]);
        let counted = ["ghostport_binds_total", "ghostport_closes_total"]
            .map(|name| metrics.sum(name, &of_port));
        let short: u64 = counted.iter().map(|counted| binds - counted).sum();
        eprintln!("{counted:?} of {binds} binds and closes, {missed} calls missed");
        assert!(short <= missed, "{counted:?} of {binds}, {missed} missed");
        assert_accounted(&bench.agent);
    });
}

/// Binds in a thread of high priority, on the CPU of one that updates a map all the time. `None` if
/// the priorities are not granted.
fn bind_over_map_updates(address: SocketAddr, binds: u64) -> Option<()> {
    let map = &Map::hash(1).expect("a map");
    let stop = &AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            realtime::enter(0, 10).ok()?;
            while !stop.load(Ordering::Relaxed) {
                for value in 0..1024 {
                    map.update(0, value).expect("updated");
                }
                // Others of this machine run, too.
                thread::sleep(Duration::from_micros(200));
            }
            Some(())
        });
        let binder = scope.spawn(|| {
            let granted = realtime::enter(0, 50).ok();
            for _ in 0..granted.map_or(0, |()| binds) {
                drop(UdpSocket::bind(address).expect("bound"));
                thread::sleep(Duration::from_micros(100));
            }
            stop.store(true, Ordering::Relaxed);
            granted
        });
        binder.join().expect("no panic")
    })
}

/// With an agent that reads, too.
#[test]
fn loses_nothing_of_a_burst_while_the_agent_reads() {
    // Several times what the ring holds.
    let binds = scaled(20_000).max(2_000);
    in_world(|world| {
        let bench = Bench::start(world, "auto");
        let address = v4(port(0));
        for _ in 0..binds {
            UdpSocket::bind(address).expect("bound");
        }
        bench.agent.socket_events();
        let mut expected = Counts::new();
        expect_sockets(&mut expected, address.port(), "success", "udp", binds);
        let closes = if bench.sees_every_close { binds } else { 0 };
        expect_sockets(&mut expected, address.port(), "close", "udp", closes);
        assert_eq!(bench.agent.metrics().sockets(&bench.ports), expected);
        assert_accounted(&bench.agent);
    });
}

/// How often the thread of the agent that reads the rings has waited for something.
fn waits(agent: &Agent) -> u64 {
    let status = fs::read_to_string(format!("/proc/{0}/task/{0}/status", agent.pid()));
    let status = status.expect("a thread");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|number| number.trim().parse().ok()).expect("a number")
}

/// A process that binds in a loop does not pay for a wakeup each time. Under emulation there are too few
/// binds in a millisecond for it to matter.
#[test]
fn a_burst_wakes_the_agent_seldom() {
    let binds = scaled(20_000);
    in_world(|world| {
        let mut bench = Bench::start(world, "auto");
        bench.saw("nothing yet", &[]);
        let before = waits(&bench.agent);
        let start = Instant::now();
        (0..binds).for_each(|_| drop(UdpSocket::bind(v4(port(0))).expect("bound")));
        let milliseconds = start.elapsed().as_millis() as u64;
        let waits = waits(&bench.agent) - before;
        // For a record, and for the end of the rest after it; and what else an agent waits for.
        assert!(waits <= 3 * milliseconds + 200, "{waits} times in {milliseconds} ms");
    });
}

/// Between the death of an agent and the start of the next, nothing is missed.
#[test]
fn reports_binds_that_happened_between_agents() {
    in_world(|world| {
        let mut bench = Bench::start(world, "auto");
        bench.saw("nothing yet", &[]);
        let config = Config::new(bench.ports.clone());
        let Bench { agent, ports, counted, told, sees_every_close, start } = bench;
        agent.kill9();
        let address = v4(port(0));
        drop(TcpListener::bind(address).expect("bound"));
        let holder = TcpListener::bind(address).expect("bound");
        let refused = bind(tcp(AddressFamily::INET), &address);
        assert_eq!(refused, Err(Errno::ADDRINUSE));
        let agent = Agent::start(world, &config);
        let mut bench = Bench { agent, ports, counted, told, sees_every_close, start };
        let [success, listens, close] = listening_life("tcp", address);
        let refusal = Call::here("in_use", "tcp", address).refused("EADDRINUSE");
        bench.saw(
            "what happened meanwhile",
            &[success.clone(), listens.clone(), close.clone(), success, listens, refusal],
        );
        drop(holder);
        bench.saw("and goes on", &[close]);
    });
}

/// Binds in full swing while the agent dies and comes back.
#[test]
fn a_kill_and_a_restart_lose_no_bind() {
    in_world(|world| {
        let bench = Bench::start(world, "auto");
        let config = Config::new(bench.ports.clone());
        let address = v4(port(0));
        let stop = AtomicBool::new(false);
        let (agent, [succeeded, refused]) = thread::scope(|scope| {
            let binder = scope.spawn(|| {
                let mut counts = [0, 0];
                let start = Instant::now();
                while !stop.load(Ordering::Relaxed) && start.elapsed() < 2 * patience() {
                    // The agent's start inherits the socket for a moment, which refuses the next.
                    counts[usize::from(UdpSocket::bind(address).is_err())] += 1;
                }
                counts
            });
            thread::sleep(Duration::from_millis(20));
            bench.agent.kill9();
            let agent = Agent::start(world, &config);
            thread::sleep(Duration::from_millis(20));
            stop.store(true, Ordering::Relaxed);
            (agent, binder.join().expect("no panic"))
        });
        assert!(succeeded > scaled(1_000), "only {succeeded} binds");
        let mut expected = Counts::new();
        expect_sockets(&mut expected, address.port(), "success", "udp", succeeded);
        expect_sockets(&mut expected, address.port(), "in_use", "udp", refused);
        let closes = if bench.sees_every_close { succeeded } else { 0 };
        expect_sockets(&mut expected, address.port(), "close", "udp", closes);
        assert_eq!(agent.metrics().sockets(&bench.ports), expected);
    });
}
