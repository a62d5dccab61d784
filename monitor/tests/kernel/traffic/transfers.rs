//! Super-packets count as what they are on the wire.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
};

use testkit::{
    agent::{Agent, Config},
    metrics::Metrics,
    programs::best_tc,
    sh,
    wire::{Offload, offload, segment_writes},
    world::{Peer, in_world, tcp_counter},
};

use super::support::{assert_mechanism, first, other, settle, traffic_of, veth_world, watched};

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
