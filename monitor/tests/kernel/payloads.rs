//! First payloads, scans, sources and talkers: real packets through every traffic mechanism.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use ghostport::api::{port::Port, talker::Talkers};
use serde_json::Value;
use testkit::{
    agent::{Agent, Config},
    eventually, scaled,
    wire::Wire,
    world::{Peer, World, in_world, port},
};

/// Service indication of smsc.ru's client samples, over WSP.
const PUSH: &[u8] =
    b"\xdc\x06\x01\xae\x02\x05\x6a\x00\x45\xc6\x0c\x03mysite.ru\x00\x01\x03mysite\x00\x01\x01";

fn watched() -> u16 {
    port(0)
}

/// Real and forged conversations reach the watched port of `gp0` at 10.9.0.1 from `peer0` at
/// 10.9.0.2.
fn veth_world(world: &World, config: Config) -> (Peer, Agent) {
    let peer = world.peer();
    let agent = Agent::start(world, &config.on(&["gp0"]));
    // Sampling begins with the first reading of the counters.
    thread::sleep(Duration::from_millis(1_500));
    (peer, agent)
}

fn config() -> Config {
    Config::new([watched()])
}

fn identified(agent: &Agent) -> Vec<Value> {
    let mut events = agent.events();
    events.retain(|event| event["event.name"] == "ghostport.identified");
    events
}

/// The events, once there are so many.
fn wait_for(agent: &Agent, count: usize) -> Vec<Value> {
    eventually(&format!("{count} findings"), || {
        let events = identified(agent);
        (events.len() >= count).then_some(events)
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A frame with a datagram or segment over IPv4; `transport` has its header.
fn frame(source: Ipv4Addr, protocol: u8, id: u16, ttl: u8, transport: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 9, 8, 0, 0x45, 0]);
    frame.extend((20 + transport.len() as u16).to_be_bytes());
    frame.extend(id.to_be_bytes());
    frame.extend([0, 0, ttl, protocol, 0, 0]);
    frame.extend(source.octets());
    frame.extend([10, 9, 0, 1]);
    frame.extend(transport);
    frame
}

fn datagram(source: Ipv4Addr, source_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut udp = source_port.to_be_bytes().to_vec();
    udp.extend(watched().to_be_bytes());
    udp.extend((8 + payload.len() as u16).to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(payload);
    frame(source, 17, 7, 64, &udp)
}

fn syn(source: Ipv4Addr, source_port: u16, id: u16, window: u16) -> Vec<u8> {
    let mut tcp = source_port.to_be_bytes().to_vec();
    tcp.extend(watched().to_be_bytes());
    tcp.extend([1, 2, 3, 4, 0, 0, 0, 0, 0x60, 2]);
    tcp.extend(window.to_be_bytes());
    tcp.extend([0, 0, 0, 0, 2, 4, 5, 0xb4]);
    frame(source, 6, id, 250, &tcp)
}

/// A segment without options.
fn segment(source: Ipv4Addr, sequence: u32, flags: u8, window: u16, payload: &[u8]) -> Vec<u8> {
    let mut tcp = 40_001_u16.to_be_bytes().to_vec();
    tcp.extend(watched().to_be_bytes());
    tcp.extend(sequence.to_be_bytes());
    tcp.extend([0, 0, 0, 0, 0x50, flags]);
    tcp.extend(window.to_be_bytes());
    tcp.extend([0, 0, 0, 0]);
    tcp.extend(payload);
    frame(source, 6, 7, 64, &tcp)
}

fn conversations_are_identified(mode: &'static str, mechanism: &str) {
    in_world(|world| {
        let (peer, agent) = veth_world(world, config().mode(mode));
        let found = agent.metrics().mechanism("ingress", Some("gp0"));
        assert_eq!(found.as_deref(), Some(mechanism));
        let port = watched();
        let address = SocketAddr::from(([10, 9, 0, 1], port));

        // Client first, server first, and a datagram with its answer.
        let listener = TcpListener::bind(address).expect("bound");
        let client = |first: &'static [u8]| {
            peer.run(move || {
                let mut stream = TcpStream::connect(address).expect("connected");
                stream.write_all(first).expect("sent");
                stream
            })
        };
        let mut client_first = client(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut server_side = listener.accept().expect("accepted").0;
        let _ = server_side.read(&mut [0; 64]).expect("read");
        client_first.write_all(b"SSH-2.0-later\r\n").expect("sent");
        let mut server_first = client(b"");
        let mut banner = listener.accept().expect("accepted").0;
        banner.write_all(b"220 mail ESMTP ready\r\n").expect("sent");
        let _ = server_first.read(&mut [0; 64]).expect("read");

        let holder = UdpSocket::bind(address).expect("bound");
        let sender = peer.run(|| UdpSocket::bind("10.9.0.2:9200").expect("bound"));
        for _ in 0..3 {
            sender.send_to(PUSH, address).expect("sent");
        }
        let (_, from) = holder.recv_from(&mut [0; 64]).expect("received");
        holder.send_to(b"anything", from).expect("sent");

        let mut found: Vec<(String, String, String, String)> = wait_for(&agent, 4)
            .iter()
            .map(|event| {
                let text = |key: &str| event[key].as_str().expect(key).to_owned();
                assert_eq!(event["network.local.port"], port);
                assert_eq!(event["network.local.address"], "10.9.0.1");
                assert_eq!(event["network.peer.address"], "10.9.0.2");
                assert_eq!(event["network.interface.name"], "gp0");
                let direction = text("network.io.direction");
                let payload = text("ghostport.payload_hex");
                (text("ghostport.verdict"), direction, text("network.transport"), payload)
            })
            .collect();
        found.sort();
        let expected = [
            ("http", "receive", "tcp", hex(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")),
            ("smtp", "transmit", "tcp", hex(b"220 mail ESMTP ready\r\n")),
            ("text", "transmit", "udp", hex(b"anything")),
            ("wap-service-indication", "receive", "udp", hex(PUSH)),
        ];
        let expected = expected.map(|(a, b, c, d)| (a.to_owned(), b.to_owned(), c.to_owned(), d));
        assert_eq!(found, expected);

        let metrics = agent.metrics();
        for (verdict, _, protocol, _) in &expected {
            let labels = [("verdict", verdict.as_str()), ("protocol", protocol.as_str())];
            assert_eq!(metrics.sum("ghostport_payloads_identified_total", &labels), 1, "{verdict}");
        }
        assert_eq!(metrics.sum("ghostport_payloads_skipped_total", &[]), 0);
        let view: Port = agent.ask(&format!("/api/v1/ports/{port}"));
        assert_eq!(view.verdicts.len(), 4, "{view:?}");
    });
}

#[test]
fn identifies_conversations_by_native_xdp() {
    conversations_are_identified("xdp-native", "xdp-native");
}

#[test]
fn identifies_conversations_by_generic_xdp() {
    conversations_are_identified("xdp-generic", "xdp-generic");
}

#[test]
fn identifies_conversations_by_tc() {
    conversations_are_identified("tc", testkit::programs::best_tc());
}

/// Payloads of every length around the edges arrive byte by byte, whatever copies them.
fn copies_bytes_exactly(mode: &'static str) {
    in_world(|world| {
        let (peer, agent) = veth_world(world, config().mode(mode));
        let lengths = [0_usize, 1, 2, 3, 17, 64, 254, 255, 256, 257, 1400];
        let payload = |len: usize| -> Vec<u8> { (0..len).map(|at| (at * 7 + 1) as u8).collect() };
        peer.run(move || {
            let wire = Wire::open("peer0");
            for (index, len) in lengths.into_iter().enumerate() {
                let source = Ipv4Addr::new(10, 9, 1, index as u8);
                wire.send(&datagram(source, 9200, &payload(len)));
            }
        });
        let events = wait_for(&agent, lengths.len());
        for (event, len) in events.iter().zip(lengths) {
            assert_eq!(event["ghostport.payload_size"], len);
            let captured = payload(len.min(256));
            assert_eq!(event["ghostport.payload_hex"], hex(&captured), "{len} bytes by {mode}");
        }
        assert_eq!(events[0]["ghostport.verdict"], "empty");
    });
}

#[test]
fn copies_bytes_exactly_by_native_xdp() {
    copies_bytes_exactly("xdp-native");
}

#[test]
fn copies_bytes_exactly_by_generic_xdp() {
    copies_bytes_exactly("xdp-generic");
}

#[test]
fn copies_bytes_exactly_by_tc() {
    copies_bytes_exactly("tc");
}

#[test]
fn recognizes_scans_by_what_does_not_follow() {
    in_world(|world| {
        let (peer, agent) = veth_world(world, config());
        let address = SocketAddr::from(([10, 9, 0, 1], watched()));
        let listener = TcpListener::bind(address).expect("bound");
        let silent = peer.run(move || TcpStream::connect(address).expect("connected"));
        let talking = peer.run(move || {
            let mut stream = TcpStream::connect(address).expect("connected");
            stream.write_all(b"*1\r\n$4\r\nPING\r\n").expect("sent");
            stream
        });
        peer.run(move || {
            let wire = Wire::open("peer0");
            wire.send(&syn(Ipv4Addr::new(10, 9, 2, 1), 40_001, 54_321, 65_535));
            wire.send(&syn(Ipv4Addr::new(10, 9, 2, 2), 40_002, 9, 1024));
            // The one that is sent twice is one.
            wire.send(&syn(Ipv4Addr::new(10, 9, 2, 2), 40_002, 9, 1024));
        });
        let verdicts = verdicts_by_peer(&wait_for(&agent, 4));
        let expected =
            ["10.9.0.2 empty", "10.9.0.2 redis", "10.9.2.1 scan-zmap", "10.9.2.2 scan-nmap"];
        assert_eq!(verdicts, expected);
        drop((listener, silent, talking));
    });
}

fn verdicts_by_peer(events: &[Value]) -> Vec<String> {
    let mut verdicts: Vec<String> = events
        .iter()
        .map(|event| {
            let [verdict, peer] = ["ghostport.verdict", "network.peer.address"]
                .map(|key| event[key].as_str().expect(key));
            format!("{peer} {verdict}")
        })
        .collect();
    verdicts.sort();
    verdicts
}

/// In order, out of order, and sent again.
fn puts_the_first_segments_together(mode: &'static str) {
    const SYN: u8 = 0x02;
    const PUSH: u8 = 0x18;
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    in_world(|world| {
        let (peer, agent) = veth_world(world, config().mode(mode));
        peer.run(|| {
            let wire = Wire::open("peer0");
            let parts = [(0, 1), (1, 3), (3, REQUEST.len())];
            for (host, order) in [(1, &[0, 1, 2][..]), (2, &[2, 0, 1]), (3, &[0, 0, 1, 1, 2])] {
                let source = Ipv4Addr::new(10, 9, 4, host);
                wire.send(&segment(source, 1_000, SYN, 64_000, &[]));
                for part in order {
                    let (from, to) = parts[*part];
                    let sequence = 1_001 + from as u32;
                    wire.send(&segment(source, sequence, PUSH, 64_000, &REQUEST[from..to]));
                }
            }
        });
        let events = wait_for(&agent, 3);
        assert_eq!(verdicts_by_peer(&events), ["10.9.4.1 http", "10.9.4.2 http", "10.9.4.3 http"]);
        for event in &events {
            assert_eq!(event["ghostport.payload_hex"], hex(REQUEST), "{event}");
        }
        assert_eq!(agent.metrics().sum("ghostport_payloads_skipped_total", &[]), 0);
    });
}

#[test]
fn puts_the_first_segments_together_by_native_xdp() {
    puts_the_first_segments_together("xdp-native");
}

#[test]
fn puts_the_first_segments_together_by_tc() {
    puts_the_first_segments_together("tc");
}

/// A ClientHello of 2,560 bytes with the name of the server at its end.
fn long_hello() -> Vec<u8> {
    let extension = |kind: u16, content: &[u8]| {
        let len = content.len() as u16;
        [&kind.to_be_bytes()[..], &len.to_be_bytes(), content].concat()
    };
    let name = b"far.example";
    let names = [&[0, name.len() as u8 + 3, 0, 0, name.len() as u8], &name[..]].concat();
    let mut rest = extension(0, &names);
    rest.extend(extension(43, &[2, 3, 4]));
    const LEN: usize = 2_560;
    let padding = LEN - 5 - 4 - 43 - rest.len() - 4;
    let extensions = [extension(21, &vec![0; padding]), rest].concat();
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    hello.extend((extensions.len() as u16).to_be_bytes());
    hello.extend(extensions);
    let mut record = vec![22, 3, 1];
    record.extend((hello.len() as u16 + 4).to_be_bytes());
    record.extend([1, 0]);
    record.extend((hello.len() as u16).to_be_bytes());
    record.extend(hello);
    assert_eq!(record.len(), LEN);
    record
}

/// A request of 3,500 bytes whose host is behind a long header.
fn long_request() -> Vec<u8> {
    let mut request = b"GET / HTTP/1.1\r\nCookie: ".to_vec();
    let end = b"\r\nHost: far.example\r\n\r\n";
    request.resize(3_500 - end.len(), b'c');
    request.extend(end);
    request
}

/// What names the other end is in the last segment of the first 4 KiB.
fn the_first_four_kibibytes_are_put_together(mode: &'static str) {
    const SYN: u8 = 0x02;
    const PUSH: u8 = 0x18;
    in_world(|world| {
        let (peer, agent) = veth_world(world, config().mode(mode));
        let address = SocketAddr::from(([10, 9, 0, 1], watched()));
        let listener = TcpListener::bind(address).expect("bound");
        // Real connections: in segments of 64 bytes, in ten segments, and at once.
        let (hello, request) = (long_hello(), long_request());
        let flows = [(hello.clone(), 64), (request.clone(), 350), (request.clone(), 3_500)];
        let clients = peer.run(move || {
            flows.map(|(payload, len)| {
                let mut stream = TcpStream::connect(address).expect("connected");
                stream.set_nodelay(true).expect("set");
                for bytes in payload.chunks(len) {
                    stream.write_all(bytes).expect("sent");
                }
                stream
            })
        });
        // Forged ones: backwards behind the first segment, all backwards, and everything twice.
        peer.run(move || {
            let wire = Wire::open("peer0");
            for host in 1..=3 {
                let source = Ipv4Addr::new(10, 9, 4, host);
                let mut parts: Vec<(usize, &[u8])> = hello.chunks(300).enumerate().collect();
                match host {
                    1 => parts[1..].reverse(),
                    2 => parts.reverse(),
                    _ => parts = parts.iter().flat_map(|part| [*part, *part]).collect(),
                }
                wire.send(&segment(source, 1_000, SYN, 64_000, &[]));
                for (number, bytes) in parts {
                    let sequence = 1_001 + number as u32 * 300;
                    wire.send(&segment(source, sequence, PUSH, 64_000, bytes));
                }
            }
        });
        let events = wait_for(&agent, 6);
        let mut names: Vec<(&str, &str, u64)> = events
            .iter()
            .map(|event| {
                let details = &event["ghostport.details"];
                let name = details["host"].as_str().or(details["server_name"].as_str());
                let size = event["ghostport.payload_size"].as_u64().expect("a size");
                (event["ghostport.verdict"].as_str().expect("a verdict"), name.unwrap_or("-"), size)
            })
            .collect();
        names.sort_unstable();
        let (http, tls) = (("http", "far.example", 3_500), ("tls", "far.example", 2_560));
        assert_eq!(names, [http, http, tls, tls, tls, tls], "{events:?}");
        assert_eq!(agent.metrics().sum("ghostport_payloads_skipped_total", &[]), 0);
        drop((listener, clients));
    });
}

#[test]
fn the_first_four_kibibytes_are_put_together_by_native_xdp() {
    the_first_four_kibibytes_are_put_together("xdp-native");
}

#[test]
fn the_first_four_kibibytes_are_put_together_by_generic_xdp() {
    the_first_four_kibibytes_are_put_together("xdp-generic");
}

#[test]
fn the_first_four_kibibytes_are_put_together_by_tc() {
    the_first_four_kibibytes_are_put_together("tc");
}

/// What follows first payloads has limits of its own, by source, and takes none of theirs.
#[test]
fn long_payloads_leave_room_for_first_ones() {
    const SYN: u8 = 0x02;
    const PUSH: u8 = 0x18;
    const LEN: usize = 1_025;
    in_world(|world| {
        let (peer, agent) = veth_world(world, config().mode("tc"));
        let connections = 24;
        peer.run(move || {
            let wire = Wire::open("peer0");
            let mut unfinished = b"GET / HTTP/1.1\r\nCookie: ".to_vec();
            unfinished.resize(LEN, b'c');
            for number in 0..connections as u16 {
                let send = |sequence, flags, bytes: &[u8]| {
                    let source = Ipv4Addr::new(10, 9, 6, 1);
                    let mut frame = segment(source, sequence, flags, 64_000, bytes);
                    frame[34..36].copy_from_slice(&(41_000 + number).to_be_bytes());
                    wire.send(&frame);
                };
                send(1_000, SYN, &[]);
                for part in 0..3 {
                    send(1_001 + part * LEN as u32, PUSH, &unfinished);
                }
                // A burst would fill the ring.
                thread::sleep(Duration::from_millis(10));
            }
        });
        let events = wait_for(&agent, connections);
        assert_eq!(events.len(), connections, "each first payload is a finding");
        let whole =
            events.iter().filter(|event| event["ghostport.payload_size"] == 3 * LEN).count();
        // Fourteen samples follow the first one of each, and a source has 255.
        assert_eq!(whole, 255 / 14, "in full");
        let skipped = agent.metrics().sum("ghostport_payloads_skipped_total", &[]);
        assert_eq!(skipped as usize, connections - whole, "what is left out is counted");
    });
}

#[test]
fn a_request_that_is_written_byte_by_byte_is_one() {
    in_world(|world| {
        let (peer, agent) = veth_world(world, config());
        let address = SocketAddr::from(([10, 9, 0, 1], watched()));
        let listener = TcpListener::bind(address).expect("bound");
        let client = peer.run(move || {
            let mut stream = TcpStream::connect(address).expect("connected");
            stream.set_nodelay(true).expect("set");
            stream.write_all(b"G").expect("sent");
            thread::sleep(Duration::from_millis(50));
            stream.write_all(b"ET / HTTP/1.1\r\n\r\n").expect("sent");
            stream
        });
        let events = wait_for(&agent, 1);
        assert_eq!(verdicts_by_peer(&events), ["10.9.0.2 http"]);
        assert_eq!(events[0]["ghostport.payload_size"], 18);
        drop((listener, client));
    });
}

#[test]
fn recognizes_scans_without_a_connection() {
    in_world(|world| {
        let (peer, agent) = veth_world(world, config());
        peer.run(|| {
            let wire = Wire::open("peer0");
            // NULL, FIN, XMAS, ACK and Maimon as Nmap sends them; XMAS of another scanner; a segment
            // of a connection that began before, which is nothing.
            let scans = [(0x00, 1024), (0x01, 2048), (0x29, 3072), (0x10, 4096), (0x11, 1024)];
            let others = [(0x29, 500), (0x10, 501)];
            for (host, (flags, window)) in (1..).zip(scans.into_iter().chain(others)) {
                let source = Ipv4Addr::new(10, 9, 5, host);
                wire.send(&segment(source, 1_000, flags, window, &[]));
            }
        });
        let expected = [
            "10.9.5.1 scan-nmap",
            "10.9.5.2 scan-nmap",
            "10.9.5.3 scan-nmap",
            "10.9.5.4 scan-nmap",
            "10.9.5.5 scan-nmap",
            "10.9.5.6 scan-stealth",
        ];
        assert_eq!(verdicts_by_peer(&wait_for(&agent, expected.len())), expected);
    });
}

#[test]
fn does_not_classify_conversations_older_than_the_agent() {
    in_world(|world| {
        let peer = world.peer();
        let address = SocketAddr::from(([10, 9, 0, 1], watched()));
        let listener = TcpListener::bind(address).expect("bound");
        let mut old = peer.run(move || TcpStream::connect(address).expect("connected"));
        let agent = Agent::start(world, &config().on(&["gp0"]));
        thread::sleep(Duration::from_millis(1_500));
        old.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
        let mut new = peer.run(move || TcpStream::connect(address).expect("connected"));
        new.write_all(b"SSH-2.0-x\r\n").expect("sent");
        let events = wait_for(&agent, 1);
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(events[0]["ghostport.verdict"], "ssh");
        drop(listener);
    });
}

#[test]
fn bounds_and_accounts_for_floods() {
    in_world(|world| {
        let (peer, agent) = veth_world(world, config().mode("tc"));
        // One source with many conversations, then many sources with one each, and one that talks
        // most of all.
        let of_one = scaled(1_000);
        let sources = scaled(20_000);
        let loud_packets = sources / 4;
        let loud = Ipv4Addr::new(10, 77, 77, 77);
        peer.run(move || {
            let wire = Wire::open("peer0");
            for number in 0..of_one as u16 {
                let source = Ipv4Addr::new(10, 66, 66, 66);
                wire.send(&datagram(source, 20_000 + number, b"one of many"));
            }
            for number in 0..sources as u32 {
                let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(172, 16, 0, 0)) + number);
                wire.send(&datagram(source, 9200, b"spoofed"));
                if number % 4 == 0 {
                    wire.send(&datagram(loud, 9200, b"loud"));
                }
            }
        });
        let packets = of_one + sources + loud_packets;
        let conversations = of_one + sources + 1;
        let labels = [("direction", "ingress"), ("protocol", "udp")];
        let identified = "ghostport_payloads_identified_total";
        let metrics = eventually("every packet and conversation accounted for", || {
            let metrics = agent.metrics();
            let told = metrics.sum(identified, &[]);
            let skipped = metrics.sum("ghostport_payloads_skipped_total", &[]);
            // The last packets may still wait in the kernel's backlog, and a source that shares its
            // slot with another is reported again.
            let counted = metrics.sum("ghostport_packets_total", &labels);
            (counted >= packets && told + skipped >= conversations).then_some(metrics)
        });
        assert_eq!(metrics.sum("ghostport_packets_total", &labels), packets);
        let told = identified_from(&agent, "10.66.66.66");
        assert!((1..=64).contains(&told), "{told} of one source");
        assert!(metrics.sum(identified, &[]) < 1_000, "{}", metrics.sum(identified, &[]));
        let estimate = metrics.sum("ghostport_sources", &[("protocol", "udp")]) as f64;
        let error = estimate / (sources + 2) as f64 - 1.0;
        // Four times the standard error.
        assert!(error.abs() < 0.19, "{estimate} sources");
        let talkers: Talkers = agent.ask(&format!("/api/v1/talkers?port={}", watched()));
        let first = &talkers.ports[1].talkers[0];
        assert_eq!(first.address, loud, "{talkers:?}");
        let received = first.packets_received;
        assert!(received > loud_packets / 2 && received <= loud_packets, "{received}");
    });
}

fn identified_from(agent: &Agent, address: &str) -> usize {
    identified(agent).iter().filter(|event| event["network.peer.address"] == address).count()
}

#[test]
fn keeps_payloads_as_configured() {
    in_world(|world| {
        let hashing = config().payload("{capture: true, keep: hash}");
        let (peer, agent) = veth_world(world, hashing.clone());
        let send = |last: u8| {
            peer.run(move || {
                Wire::open("peer0").send(&datagram(Ipv4Addr::new(10, 9, 3, last), 9200, PUSH));
            });
        };
        send(1);
        let event = &wait_for(&agent, 1)[0];
        // sha256sum of the payload.
        let digest = "6f5d5b1bb7f0671c059739ff28c33737815585c1b35219abcc9414ee78c48b16";
        assert_eq!(event["ghostport.payload_sha256"], digest);
        assert!(event.get("ghostport.payload_hex").is_none());

        hashing.clone().payload("{capture: true, keep: none}").on(&["gp0"]).write(world);
        assert!(agent.reload());
        send(2);
        let event = &wait_for(&agent, 2)[1];
        assert!(event.get("ghostport.payload_sha256").is_none(), "{event}");
        assert_eq!(event["ghostport.verdict"], "wap-service-indication");

        hashing.payload("{capture: false}").on(&["gp0"]).write(world);
        assert!(agent.reload());
        thread::sleep(Duration::from_millis(2_500));
        let before = agent.metrics().sum("ghostport_packets_total", &[]);
        send(3);
        eventually("the packet is counted", || {
            (agent.metrics().sum("ghostport_packets_total", &[]) > before).then_some(())
        });
        thread::sleep(Duration::from_millis(500));
        assert_eq!(identified(&agent).len(), 2, "nothing is captured");
    });
}
