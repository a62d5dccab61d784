use monitor_common::sample::SAMPLE_LEN;
use proptest::prelude::*;

use super::*;

const CLIENT: [u8; 4] = [192, 0, 2, 7];
const HOST: [u8; 4] = [198, 51, 100, 1];

fn words(address: [u8; 4]) -> [u64; 2] {
    let [a, b, c, d] = address;
    [u64::from_ne_bytes([a, b, c, d, 0, 0, 0, 0]), 0]
}

/// A sample of what the client sends from port 40,000 to the host's port 2948.
fn sample(kind: SampleKind, protocol: Protocol, bytes: &[u8], time_ns: u64) -> Sample {
    let mut room = [0; SAMPLE_LEN];
    room[..bytes.len()].copy_from_slice(bytes);
    Sample {
        time_ns,
        source: words(CLIENT),
        destination: words(HOST),
        interface: 2,
        wire_len: bytes.len() as u32,
        source_port: 40_000,
        destination_port: 2948,
        captured: bytes.len() as u16,
        kind: kind as u8,
        protocol: protocol as u8,
        direction: Direction::Ingress as u8,
        family: 4,
        reserved: [0; 6],
        bytes: room,
    }
}

/// The same the other way.
fn answer(sample: &Sample) -> Sample {
    Sample {
        source: sample.destination,
        destination: sample.source,
        source_port: sample.destination_port,
        destination_port: sample.source_port,
        direction: Direction::Egress as u8,
        ..*sample
    }
}

fn headers(window: u16, options: &[u8]) -> Vec<u8> {
    let len = 40 + options.len();
    let mut headers = vec![0x45, 0, 0, len as u8, 0, 7, 0, 0, 250, 6, 0, 0];
    headers.extend([CLIENT, HOST].concat());
    headers.extend([0x9c, 0x40, 0x0b, 0x84, 1, 2, 3, 4, 0, 0, 0, 0]);
    headers.extend([(((20 + options.len()) / 4) << 4) as u8, 2]);
    headers.extend(window.to_be_bytes());
    headers.extend([0; 4]);
    headers.extend(options);
    headers
}

fn attempt(time_ns: u64) -> Sample {
    let headers = headers(1024, &[2, 4, 5, 0xb4]);
    sample(SampleKind::ConnectionAttempt, Protocol::Tcp, &headers, time_ns)
}

fn watched(port: u16) -> bool {
    port == 2948
}

fn verdicts(findings: &[Finding]) -> Vec<Verdict> {
    findings.iter().map(|finding| finding.identification.verdict).collect()
}

#[test]
fn a_payload_is_told_at_once() {
    let mut examiner = Examiner::default();
    let get = sample(SampleKind::Payload, Protocol::Tcp, b"GET / HTTP/1.1\r\n\r\n", 5);
    let finding = examiner.take(&get, watched).expect("a finding");
    assert_eq!(finding.identification.verdict, Verdict::Http);
    assert_eq!((finding.port, finding.direction), (2948, Direction::Ingress));
    assert_eq!(finding.local.to_string(), "198.51.100.1:2948");
    assert_eq!(finding.peer.to_string(), "192.0.2.7:40000");
    assert_eq!(finding.payload.expect("a payload").size, 18);
    let back = answer(&sample(SampleKind::Payload, Protocol::Tcp, b"SSH-2.0-x\r\n", 6));
    let finding = examiner.take(&back, watched).expect("a finding");
    assert_eq!(finding.identification.verdict, Verdict::Ssh);
    assert_eq!(finding.local.port(), 2948);
    assert!(examiner.take(&get, |_| false).is_none(), "the port is no longer watched");
}

#[test]
fn an_attempt_that_nothing_follows_is_a_scan() {
    let mut examiner = Examiner::default();
    assert!(examiner.take(&attempt(0), watched).is_none());
    assert_eq!(examiner.expire(PATIENCE_NS - 1), []);
    assert_eq!(verdicts(&examiner.expire(PATIENCE_NS)), [Verdict::ScanNmap]);
    assert_eq!(examiner.expire(u64::MAX), []);
}

#[test]
fn an_attempt_that_a_payload_follows_is_none() {
    for reply in [false, true] {
        let mut examiner = Examiner::default();
        examiner.take(&attempt(0), watched);
        let payload = sample(SampleKind::Payload, Protocol::Tcp, b"x", 1);
        let payload = if reply { answer(&payload) } else { payload };
        assert!(examiner.take(&payload, watched).is_some());
        assert_eq!(examiner.expire(u64::MAX), []);
    }
}

#[test]
fn a_connection_that_carries_nothing_is_empty() {
    let mut examiner = Examiner::default();
    examiner.take(&attempt(0), watched);
    examiner.take(&sample(SampleKind::Handshake, Protocol::Tcp, &[], 1), watched);
    assert_eq!(verdicts(&examiner.expire(u64::MAX)), [Verdict::Empty]);
}

#[test]
fn the_later_of_two_attempts_counts() {
    let mut examiner = Examiner::default();
    examiner.take(&attempt(0), watched);
    examiner.take(&attempt(1_000), watched);
    assert_eq!(examiner.expire(PATIENCE_NS), []);
    assert_eq!(examiner.expire(PATIENCE_NS + 1_000).len(), 1);
}

#[test]
fn attempts_are_bounded() {
    let mut examiner = Examiner::default();
    for port in 0..5_000 {
        examiner.take(&Sample { source_port: port, ..attempt(0) }, watched);
    }
    assert_eq!(examiner.expire(u64::MAX).len(), MAX_ATTEMPTS);
}

#[test]
fn over_loopback_the_watched_end_is_told_of() {
    let mut examiner = Examiner::default();
    let sent = sample(SampleKind::Payload, Protocol::Udp, b"x", 0);
    let sent = Sample { interface: LOOPBACK, direction: Direction::Egress as u8, ..sent };
    let finding = examiner.take(&sent, watched).expect("a finding");
    assert_eq!((finding.local.port(), finding.direction), (2948, Direction::Ingress));
    // Elsewhere the peer's port is the peer's.
    let finding = examiner.take(&Sample { interface: 2, ..sent }, watched).expect("a finding");
    assert_eq!((finding.peer.port(), finding.direction), (2948, Direction::Egress));
    assert_eq!(finding.port, 2948);
}

#[test]
fn tallies_have_the_last_of_each() {
    let mut examiner = Examiner::default();
    let mut tallies = Tallies::default();
    let time = |second| jiff::Timestamp::from_second(second).expect("a time");
    for (second, bytes) in [(1, &b"SSH-2.0-a"[..]), (2, b"PING\r\n"), (3, b"SSH-2.0-b")] {
        let payload = sample(SampleKind::Payload, Protocol::Tcp, bytes, 0);
        tallies.count(&examiner.take(&payload, watched).expect("a finding"), time(second));
    }
    let rows = tallies.of_port(2948);
    assert_eq!(rows.iter().map(|row| row.1).collect::<Vec<_>>(), [Verdict::Ssh, Verdict::Redis]);
    assert_eq!((rows[0].2.count, rows[0].2.time), (2, time(3)));
    assert_eq!(tallies.of_port(2949), []);
}

proptest! {
    #[test]
    fn whatever_comes_is_borne(bytes in prop::collection::vec(any::<u8>(), size_of::<Sample>())) {
        let sample: Sample = bytemuck::pod_read_unaligned(&bytes);
        let mut examiner = Examiner::default();
        examiner.take(&sample, |_| true);
        examiner.expire(u64::MAX);
    }

    #[test]
    fn whatever_headers_come_are_borne(bytes in prop::collection::vec(any::<u8>(), 0..=SAMPLE_LEN)) {
        let mut examiner = Examiner::default();
        examiner.take(&sample(SampleKind::ConnectionAttempt, Protocol::Tcp, &bytes, 0), watched);
        examiner.take(&sample(SampleKind::Payload, Protocol::Udp, &bytes, 0), watched);
    }
}
