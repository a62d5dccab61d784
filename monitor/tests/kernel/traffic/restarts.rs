//! No frame and no bind is lost at line rate, when the agent is killed and starts again.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use testkit::{
    agent::{Agent, Config},
    programs::{has_tcx, without_tcx},
    world::{Peer, in_world, port},
};

use super::{
    flood::{Flood, assert_flood_counted},
    support::{assert_mechanism, kernel_errors, veth_world, watched},
};

#[test]
fn counts_ten_million_frames_exactly() {
    in_world(|world| {
        let (peer, agent) = veth_world(world, "auto");
        assert_mechanism(&agent, "ingress", "gp0", "xdp-native");
        let flood = Flood::start(&peer);
        flood.wait_for(10_000_000);
        assert_flood_counted(&agent, flood.end());
    });
}

#[test]
fn a_kill_and_a_restart_lose_no_frame() {
    in_world(|world| {
        let (peer, agent) = veth_world(world, "auto");
        let config = Config::new(watched()).on(&["gp0"]);
        let flood = Flood::start(&peer);
        flood.wait_for(2_000_000);
        agent.kill9();
        flood.wait_for(2_000_000);
        let agent = Agent::start(world, &config);
        flood.wait_for(2_000_000);
        agent.kill9();
        let agent = Agent::start(world, &config);
        flood.wait_for(4_000_000);
        assert_flood_counted(&agent, flood.end());
        assert_mechanism(&agent, "ingress", "gp0", "xdp-native");
    });
}

#[test]
fn a_kill_under_load_loses_no_frame_by_native_xdp() {
    a_kill_under_load("xdp-native", "xdp-native");
}

#[test]
fn a_kill_under_load_loses_no_frame_by_generic_xdp() {
    a_kill_under_load("xdp-generic", "xdp-generic");
}

#[test]
fn a_kill_under_load_loses_no_frame_by_tcx() {
    if has_tcx() {
        a_kill_under_load("tc", "tcx");
    } else {
        eprintln!("skipped: this kernel has no TCX");
    }
}

#[test]
fn a_kill_under_load_loses_no_frame_by_clsact() {
    a_kill_under_load("tc", "clsact");
}

/// The agent is killed and started again twice under a load of frames and binds. Each is counted
/// once, and no bind is reported twice.
fn a_kill_under_load(mode: &'static str, mechanism: &str) {
    in_world(|world| {
        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        let _crowd = (mechanism == "clsact").then(|| without_tcx(&["gp0"]));
        let bound = port(3);
        let config = Config::new(watched().into_iter().chain([bound])).on(&["gp0"]).mode(mode);
        let mut agent = Agent::start(world, &config);
        assert_mechanism(&agent, "ingress", "gp0", mechanism);
        let flood = Flood::by_socket(&peer);
        let binder = Binder::start(bound);
        for _ in 0..2 {
            thread::sleep(Duration::from_millis(100));
            agent.kill9();
            thread::sleep(Duration::from_millis(100));
            agent = Agent::start(world, &config);
        }
        thread::sleep(Duration::from_millis(100));
        let [succeeded, refused] = binder.end();
        let frames = flood.end();
        assert!(succeeded > 50 && frames > 1_000, "{succeeded} binds, {frames} frames");
        assert_flood_counted(&agent, frames);
        assert_mechanism(&agent, "ingress", "gp0", mechanism);

        let events = agent.socket_events();
        let told: Vec<&str> = events
            .iter()
            .filter(|event| event["event.name"] == "ghostport.bind")
            .filter_map(|event| event["time"].as_str())
            .collect();
        let once: BTreeSet<&str> = told.iter().copied().collect();
        assert_eq!(once.len(), told.len(), "events that were told twice");
        // What was on its way to the file when the agent was killed is lost; the counters have it.
        assert!(!told.is_empty() && told.len() as u64 <= succeeded, "{} events", told.len());
        let bound = bound.to_string();
        let counted = |result| {
            let labels = [("port", &*bound), ("result", result)];
            agent.metrics().sum("ghostport_binds_total", &labels)
        };
        assert_eq!([counted("success"), counted("in_use")], [succeeded, refused]);
        // A busy machine may start the agent so late that the ring is full meanwhile, and a
        // preemptible kernel leaves out calls, of which none was one of ours.
        let mut errors = kernel_errors(&agent.metrics());
        errors.retain(|cause, _| !["ring_full", "call_missed"].contains(&&**cause));
        assert!(errors.is_empty(), "{errors:?}");
    });
}

/// Binds a port again and again, slowly enough for the ring buffer to hold what is not read yet.
struct Binder {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<[u64; 2]>,
}

impl Binder {
    /// In this thread's namespace.
    fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut counts = [0, 0];
            while !stopped.load(Ordering::Relaxed) {
                // The agent's start inherits the socket for a moment, which refuses the next.
                let bound = UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
                counts[usize::from(bound.is_err())] += 1;
                drop(bound);
                thread::sleep(Duration::from_millis(4));
            }
            counts
        });
        Self { stop, thread }
    }

    /// How many succeeded, and how many were refused.
    fn end(self) -> [u64; 2] {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic")
    }
}
