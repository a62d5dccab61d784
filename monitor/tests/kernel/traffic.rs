//! Packets are counted exactly: every shape, every mode of attachment, super-packets, line rate.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Receiver,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use testkit::{
    agent::{Agent, Config},
    frames::{Shape, plain_udp, shapes, syn},
    metrics::{Counts, Metrics, expect},
    patience,
    programs::{Programs, best_tc, has_tcx, without_tcx},
    scaled, sh,
    wire::{Offload, Wire, offload, segment_writes},
    world::{Peer, World, in_world, port, received_packets, tcp_counter},
};

fn first() -> u16 {
    port(0)
}

fn second() -> u16 {
    port(1)
}

fn other() -> u16 {
    port(2)
}

fn watched() -> [u16; 2] {
    [first(), second()]
}

/// A veth pair with an agent that counts on `gp0`; the other end is `peer0`.
fn veth_world(world: &World, mode: &'static str) -> (Peer, Agent) {
    let peer = world.peer();
    let agent = Agent::start(world, &Config::new(watched()).on(&["gp0"]).mode(mode));
    (peer, agent)
}

fn assert_mechanism(agent: &Agent, hook: &str, interface: &str, mechanism: &str) {
    let found = agent.metrics().mechanism(hook, Some(interface));
    assert_eq!(found.as_deref(), Some(mechanism), "{hook} of {interface}");
}

/// Sends every shape both ways, each another number of times, and compares all counters after each.
fn every_shape_both_ways(mode: &'static str, mechanism: &str) {
    in_world(|world| {
        let (peer, agent) = veth_world(world, mode);
        assert_every_shape(&peer, &agent, mechanism);
    });
}

fn assert_every_shape(peer: &Peer, agent: &Agent, mechanism: &str) {
    assert_mechanism(agent, "ingress", "gp0", mechanism);
    let is_tc = matches!(mechanism, "tcx" | "clsact");
    let outgoing = Wire::open("gp0");
    let mut counted = agent.metrics().traffic();
    for (index, shape) in shapes(first(), second(), other()).into_iter().enumerate() {
        let times = index as u64 % 3 + 1;
        let frame = shape.frame.clone();
        peer.run(move || {
            let wire = Wire::open("peer0");
            (0..times).for_each(|_| wire.send(&frame));
        });
        let seen = if shape.reaches_tc_ingress || !is_tc { times } else { 0 };
        let expected = shape.counts(&watched(), "gp0", "ingress", seen);
        counted = agent.assert_traffic(&counted, &expected, shape.name);

        (0..times).for_each(|_| outgoing.send(&shape.frame));
        let expected = shape.counts(&watched(), "gp0", "egress", times);
        counted = agent.assert_traffic(&counted, &expected, shape.name);
    }
    assert_eq!(kernel_errors(&agent.metrics()), 0);
}

fn kernel_errors(metrics: &Metrics) -> u64 {
    metrics.sum("ghostport_kernel_errors_total", &[])
}

#[test]
fn counts_every_shape_by_native_xdp() {
    every_shape_both_ways("auto", "xdp-native");
}

#[test]
fn counts_every_shape_by_generic_xdp() {
    every_shape_both_ways("xdp-generic", "xdp-generic");
}

#[test]
fn counts_every_shape_by_tc() {
    every_shape_both_ways("tc", best_tc());
}

#[test]
fn counts_every_shape_by_clsact() {
    in_world(|world| {
        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        let _crowd = without_tcx(&["gp0"]);
        let agent = Agent::start(world, &Config::new(watched()).on(&["gp0"]).mode("tc"));
        assert_every_shape(&peer, &agent, "clsact");
    });
}

/// A kernel without TCX says so, and clsact serves.
#[test]
fn reports_why_tcx_was_rejected() {
    in_world(|world| {
        if has_tcx() {
            return eprintln!("skipped: this kernel has TCX");
        }
        let (_peer, agent) = veth_world(world, "tc");
        for hook in ["ingress", "egress"] {
            assert_mechanism(&agent, hook, "gp0", "clsact");
            let told = agent.events().into_iter().find(|event| {
                event["event.name"] == "ghostport.hook_changed" && event["ghostport.hook"] == hook
            });
            let reason = told.expect("an event")["ghostport.reason"].to_string();
            assert!(reason.contains("no TCX"), "{hook}: {reason}");
        }
    });
}

#[test]
fn counts_every_shape_on_lo() {
    in_world(|world| {
        let agent = Agent::start(world, &Config::new(watched()).on(&["lo"]));
        let wire = Wire::open("lo");
        let mut counted = agent.metrics().traffic();
        for shape in shapes(first(), second(), other()) {
            wire.send(&shape.frame);
            let mut expected = shape.counts(&watched(), "lo", "egress", 1);
            if shape.reaches_tc_ingress {
                expected.extend(shape.counts(&watched(), "lo", "ingress", 1));
            }
            counted = agent.assert_traffic(&counted, &expected, shape.name);
        }
    });
}

/// Two interfaces at once, to see that none is counted for the other.
#[test]
fn counts_each_interface_apart() {
    in_world(|world| {
        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        world.veth("gp1", &peer, "peer1");
        let agent = Agent::start(world, &Config::new(watched()).on(&["gp*"]));
        let counted = agent.metrics().traffic();
        let shape = |frame, outcome: &Shape| Shape { frame, ..outcome.clone() };
        let all = shapes(first(), second(), other());
        let find = |name: &str| all.iter().find(|shape| shape.name == name).expect("a shape");
        let udp = shape(plain_udp(other(), first()), find("UDP to a watched port"));
        let syn = shape(syn(other(), first()), find("SYN"));
        let (one, two) = (udp.frame.clone(), syn.frame.clone());
        peer.run(move || {
            Wire::open("peer0").send(&one);
            Wire::open("peer1").send(&two);
            Wire::open("peer1").send(&two);
        });
        let mut expected = udp.counts(&watched(), "gp0", "ingress", 1);
        expected.extend(syn.counts(&watched(), "gp1", "ingress", 2));
        agent.assert_traffic(&counted, &expected, "one datagram and two SYNs");
    });
}

/// A datagram that the stack itself splits: the first fragment has the ports, the others do not.
#[test]
fn counts_a_fragmented_datagram_once() {
    in_world(|world| {
        let (peer, agent) = veth_world(world, "auto");
        let counted = agent.metrics().traffic();
        peer.run(|| {
            let socket = UdpSocket::bind(("10.9.0.2", other())).expect("bound");
            socket.send_to(&[0; 4000], ("10.9.0.1", first())).expect("sent");
        });
        let mut expected = Counts::new();
        let on = [("interface", "gp0"), ("direction", "ingress")];
        let port = first().to_string();
        let labels =
            [on[0], on[1], ("port", port.as_str()), ("protocol", "udp"), ("side", "local")];
        expect(&mut expected, "ghostport_packets_total", &labels, 1);
        expect(&mut expected, "ghostport_bytes_total", &labels, 1514);
        let labels = [on[0], on[1], ("cause", "fragment")];
        expect(&mut expected, "ghostport_unclassified_packets_total", &labels, 2);
        agent.assert_traffic(&counted, &expected, "three fragments");
    });
}

/// Octets of a TCP transfer; enough for thousands of segments and hundreds of super-packets.
const BULK: usize = 20_000_000;

/// Frame of a SYN and of an ACK without payload, over IPv4 with timestamps.
const SYN_FRAME_V4: u64 = 14 + 20 + 40;
const ACK_FRAME_V4: u64 = 14 + 20 + 32;

/// The same over IPv6.
const SYN_FRAME_V6: u64 = 14 + 40 + 40;
const ACK_FRAME_V6: u64 = 14 + 40 + 32;

/// Segments that this thread's namespace sent, those sent again included.
#[derive(Clone, Copy)]
struct Segments {
    sent: u64,
    again: u64,
}

impl Segments {
    fn now() -> Self {
        Self { sent: tcp_counter("OutSegs"), again: tcp_counter("RetransSegs") }
    }

    /// How many since then; `None` if any was sent again, on a machine that is too busy to answer
    /// in time. The sum of the bytes is not known then.
    fn since(self) -> Option<u64> {
        let now = Self::now();
        (now.again == self.again).then_some(now.sent - self.sent)
    }
}

/// Repeats a transfer until one needed no segment to be sent again.
fn until_undisturbed(mut transfer: impl FnMut() -> Option<()>) {
    let undisturbed = (0..5).any(|_| transfer().is_some());
    assert!(undisturbed, "segments were lost, where nothing should lose any");
}

fn send_bulk(to: SocketAddr) {
    let mut stream = TcpStream::connect(to).expect("connected");
    // No more in flight than a veth pair's ring holds.
    rustix::net::sockopt::set_socket_send_buffer_size(&stream, 64 * 1024).expect("a buffer");
    let block = vec![0x5a; 250_000];
    for _ in 0..BULK / block.len() {
        stream.write_all(&block).expect("sent");
    }
    drop(stream);
}

/// Accepts one connection and reads it to its end. Both ends have closed when it returns.
fn receive_bulk(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().expect("accepted");
    let mut block = vec![0; 1 << 20];
    let mut received = 0;
    loop {
        match stream.read(&mut block).expect("received") {
            0 => break,
            length => received += length,
        }
    }
    assert_eq!(received, BULK);
}

/// Waits until the farewell of a connection is over.
fn settle() {
    thread::sleep(Duration::from_millis(100));
}

fn traffic_of(
    metrics: &Metrics,
    interface: &str,
    protocol: &str,
    direction: &str,
    side: &str,
) -> (u64, u64) {
    let port = first().to_string();
    let labels = [
        ("interface", interface),
        ("port", port.as_str()),
        ("protocol", protocol),
        ("direction", direction),
        ("side", side),
    ];
    let value = |name| metrics.sum(name, &labels);
    (value("ghostport_packets_total"), value("ghostport_bytes_total"))
}

/// Traffic of the first watched port between two scrapes: packets and bytes.
fn traffic_between(
    scrapes: [&Metrics; 2],
    interface: &str,
    direction: &str,
    side: &str,
) -> (u64, u64) {
    let [then, now] = scrapes.map(|metrics| traffic_of(metrics, interface, "tcp", direction, side));
    (now.0 - then.0, now.1 - then.1)
}

/// The peer sends to a watched port here. What the namespaces say they sent is what must be
/// counted, and the bytes follow from it.
fn bulk_over_veth(mode: &'static str, mechanism: &str, prepare: impl FnOnce(&Peer) + Send) {
    in_world(|world| {
        let (peer, agent) = veth_world(world, mode);
        assert_mechanism(&agent, "ingress", "gp0", mechanism);
        prepare(&peer);
        let listener = TcpListener::bind(("10.9.0.1", first())).expect("bound");
        until_undisturbed(|| {
            let then = agent.metrics();
            settle();
            let (before, before_there) = (Segments::now(), peer.run(Segments::now));
            let sending = peer.start(|| send_bulk(SocketAddr::from(([10, 9, 0, 1], first()))));
            receive_bulk(&listener);
            sending.recv().expect("sent");
            settle();
            let (sent, sent_there) = (before.since()?, peer.run(move || before_there.since())?);
            assert!(sent_there > BULK as u64 / 1500, "{sent_there} segments");

            let now = agent.metrics();
            let counted = |direction| traffic_between([&then, &now], "gp0", direction, "local");
            let bytes = SYN_FRAME_V4 + (sent_there - 1) * ACK_FRAME_V4 + BULK as u64;
            assert_eq!(counted("ingress"), (sent_there, bytes), "from the peer");
            let bytes = SYN_FRAME_V4 + (sent - 1) * ACK_FRAME_V4;
            assert_eq!(counted("egress"), (sent, bytes), "to the peer");
            let attempts =
                |metrics: &Metrics| metrics.sum("ghostport_connection_attempts_total", &[]);
            assert_eq!(attempts(&now) - attempts(&then), 1);
            Some(())
        });
    });
}

#[test]
fn tso_super_packets_on_tc_count_as_their_segments() {
    bulk_over_veth("tc", best_tc(), |_| {});
}

#[test]
fn gro_super_packets_on_tc_count_as_their_segments() {
    bulk_over_veth("tc", best_tc(), |peer| {
        offload("gp0", Offload::Gro, true);
        peer.run(|| {
            offload("peer0", Offload::Tso, false);
            offload("peer0", Offload::Gso, false);
        });
    });
}

#[test]
fn counts_a_transfer_by_native_xdp() {
    bulk_over_veth("auto", "xdp-native", |_| {});
}

/// Every packet crosses `lo` twice, and both ends are here.
#[test]
fn super_packets_on_lo_count_as_their_segments() {
    in_world(|world| {
        // Otherwise a segment is as large as a super-packet.
        sh("ip link set lo mtu 1500");
        let config = Config::new(watched()).on(&["lo"]).mode("tc");
        let agent = Agent::start(world, &config);
        for (address, syn, ack) in
            [("127.0.0.1", SYN_FRAME_V4, ACK_FRAME_V4), ("::1", SYN_FRAME_V6, ACK_FRAME_V6)]
        {
            let listener = TcpListener::bind((address, first())).expect("bound");
            let to = listener.local_addr().expect("an address");
            until_undisturbed(|| {
                let then = agent.metrics();
                settle();
                let before = Segments::now();
                thread::scope(|scope| {
                    scope.spawn(|| send_bulk(to));
                    receive_bulk(&listener);
                });
                settle();
                let sent = before.since()?;
                assert!(sent > BULK as u64 / 1500, "{sent} segments");

                let now = agent.metrics();
                let counted =
                    |direction, side| traffic_between([&then, &now], "lo", direction, side);
                let to_server = counted("egress", "remote");
                let to_client = counted("egress", "local");
                assert_eq!(counted("ingress", "local"), to_server, "{address}");
                assert_eq!(counted("ingress", "remote"), to_client, "{address}");
                assert_eq!(to_server.0 + to_client.0, sent, "{address}");
                let bytes = syn + (to_server.0 - 1) * ack + BULK as u64;
                assert_eq!(to_server.1, bytes, "{address}");
                assert_eq!(to_client.1, syn + (to_client.0 - 1) * ack, "{address}");
                Some(())
            });
        }
    });
}

/// One write that leaves as ten datagrams, the last one shorter.
#[test]
fn udp_super_packets_count_as_their_datagrams() {
    const WRITE: u64 = 9_500;
    const DATAGRAMS: u64 = 10;
    let bytes = WRITE + DATAGRAMS * (14 + 20 + 8);
    in_world(|world| {
        let (peer, agent) = veth_world(world, "tc");
        let receiver = peer.run(|| UdpSocket::bind(("10.9.0.2", other())).expect("bound"));
        let here = UdpSocket::bind(("10.9.0.1", first())).expect("bound");
        segment_writes(&here, 1000);
        here.send_to(&[1; WRITE as usize], ("10.9.0.2", other())).expect("sent");
        peer.run(move || {
            let mut buffer = [0; 2000];
            for _ in 0..DATAGRAMS {
                receiver.recv(&mut buffer).expect("received");
            }
            segment_writes(&receiver, 1000);
            let all = [2; WRITE as usize];
            receiver.send_to(&all, ("10.9.0.1", first())).expect("sent");
        });
        let mut buffer = [0; 2000];
        for _ in 0..DATAGRAMS {
            here.recv(&mut buffer).expect("received");
        }
        let metrics = agent.metrics();
        let egress = traffic_of(&metrics, "gp0", "udp", "egress", "local");
        assert_eq!(egress, (DATAGRAMS, bytes), "to the peer");
        let ingress = traffic_of(&metrics, "gp0", "udp", "ingress", "local");
        assert_eq!(ingress, (DATAGRAMS, bytes), "from the peer");
    });
}

/// Sends frames until it is stopped.
struct Flood {
    stop: Arc<AtomicBool>,
    ended: Receiver<()>,
    before: u64,
}

const FLOOD_FRAME_LEN: u64 = 60;

/// From the first watched port to the second.
fn flood_frame() -> Vec<u8> {
    let frame = plain_udp(first(), second());
    assert_eq!(frame.len() as u64, FLOOD_FRAME_LEN);
    frame
}

impl Flood {
    /// By live frames, which need a native XDP program on both ends, where the kernel has them; by
    /// a packet socket elsewhere.
    fn start(peer: &Peer) -> Self {
        Self::run(peer, |stopped| {
            let mut programs = Programs::load();
            programs.prepare_transmission("peer0");
            let frame = flood_frame();
            if programs.transmit("peer0", &frame, 1).is_err() {
                return Self::send(stopped);
            }
            while !stopped.load(Ordering::Relaxed) {
                programs.transmit("peer0", &frame, 50_000).expect("live frames");
            }
        })
    }

    /// By a packet socket, whatever is attached.
    fn by_socket(peer: &Peer) -> Self {
        Self::run(peer, Self::send)
    }

    fn send(stopped: &AtomicBool) {
        let wire = Wire::open("peer0");
        let frame = flood_frame();
        while !stopped.load(Ordering::Relaxed) {
            wire.send(&frame);
        }
    }

    fn run(peer: &Peer, work: impl FnOnce(&AtomicBool) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let before = received_packets("gp0");
        let ended = peer.start(move || work(&stopped));
        Self { stop, ended, before }
    }

    /// Frames that have arrived until now.
    fn arrived(&self) -> u64 {
        received_packets("gp0") - self.before
    }

    /// Waits for this many more, or as many as this machine can take, which must not last longer
    /// than at a tenth of the usual rate.
    fn wait_for(&self, frames: u64) {
        let frames = scaled(frames);
        let target = self.arrived() + frames;
        let deadline = Instant::now() + patience() + Duration::from_micros(frames * 5);
        while self.arrived() < target {
            assert!(Instant::now() < deadline, "{} of {target} frames", self.arrived());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Frames that have arrived in all, none of which is still on its way.
    fn end(mut self) -> u64 {
        self.stop();
        settle();
        self.arrived()
    }

    fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.ended.recv();
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Both ports of a frame of the flood are watched: its source is the peer's, its destination ours.
fn assert_flood_counted(agent: &Agent, frames: u64) {
    let counted = agent.metrics().traffic();
    let mut expected = Counts::new();
    for (port, side) in [(first(), "remote"), (second(), "local")] {
        let port = port.to_string();
        let labels = [
            ("interface", "gp0"),
            ("port", port.as_str()),
            ("protocol", "udp"),
            ("direction", "ingress"),
            ("side", side),
        ];
        expect(&mut expected, "ghostport_packets_total", &labels, frames);
        expect(&mut expected, "ghostport_bytes_total", &labels, frames * FLOOD_FRAME_LEN);
    }
    assert_eq!(counted, expected);
}

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
        let metrics = agent.metrics();
        let [full, missed] = ["ring_full", "call_missed"]
            .map(|cause| metrics.sum("ghostport_kernel_errors_total", &[("cause", cause)]));
        assert_eq!(kernel_errors(&metrics), full + missed);
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

#[test]
fn a_reload_loses_no_frame_on_ports_that_stay() {
    in_world(|world| {
        let (peer, agent) = veth_world(world, "auto");
        let few = Config::new(watched().into_iter().chain([port(3), port(4), port(5)]));
        let few = few.on(&["gp0"]);
        let many: Vec<u16> = watched().into_iter().chain(40_000..41_998).collect();
        let many = Config::new(many).on(&["gp0"]);
        let flood = Flood::start(&peer);
        flood.wait_for(500_000);
        for config in [&few, &many, &few, &many, &few] {
            config.write(world);
            assert!(agent.reload(), "{}", agent.log());
            flood.wait_for(500_000);
        }
        assert_flood_counted(&agent, flood.end());
        assert_eq!(kernel_errors(&agent.metrics()), 0);
    });
}

/// Frames to a port count from the moment it is watched to the moment it is not, and what it has
/// counted is there again when it is watched again.
#[test]
fn counts_a_port_while_it_is_watched() {
    in_world(|world| {
        let (peer, agent) = veth_world(world, "auto");
        let send = || {
            peer.run(|| Wire::open("peer0").send(&plain_udp(other(), port(6))));
            settle();
        };
        let packets = || {
            let port = port(6).to_string();
            agent.metrics().sum("ghostport_packets_total", &[("port", &port)])
        };
        let with = Config::new([first(), port(6)]).on(&["gp0"]);
        let without = Config::new(watched()).on(&["gp0"]);
        send();
        with.write(world);
        assert!(agent.reload());
        assert_eq!(packets(), 0);
        send();
        assert_eq!(packets(), 1);
        without.write(world);
        assert!(agent.reload());
        send();
        with.write(world);
        assert!(agent.reload());
        assert_eq!(packets(), 1);
        send();
        assert_eq!(packets(), 2);
    });
}

/// Every port at once, and a few of them hit.
#[test]
fn watches_all_ports() {
    in_world(|world| {
        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        let sentinel = port(99);
        let all = (1..=u16::MAX).filter(|port| *port != sentinel && *port != 9);
        let config = Config { listen: 9, ..Config::new(all).on(&["gp0"]) };
        let agent = Agent::start(world, &config);
        let counted = agent.metrics().traffic();
        peer.run(|| {
            let wire = Wire::open("peer0");
            for port in [1, 2948, 65535] {
                wire.send(&plain_udp(9, port));
            }
        });
        let mut expected = Counts::new();
        for port in ["1", "2948", "65535"] {
            let labels = [
                ("interface", "gp0"),
                ("port", port),
                ("protocol", "udp"),
                ("direction", "ingress"),
                ("side", "local"),
            ];
            expect(&mut expected, "ghostport_packets_total", &labels, 1);
            expect(&mut expected, "ghostport_bytes_total", &labels, 60);
        }
        agent.assert_traffic(&counted, &expected, "three datagrams");
    });
}
