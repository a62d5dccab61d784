use monitor_common::{
    flow::{Direction, LOOPBACK, Orientation, Protocol},
    sample::{SAMPLE_LEN, Sample, SampleKind},
    sample_record::SampleRecord,
};
use monitor_identify::Verdict;

use crate::config::PayloadKeep;
use proptest::prelude::*;

use super::{
    classifier::{ATTEMPT_TIMEOUT_NS, MAX_ATTEMPTS},
    flights::{FLIGHT_TIMEOUT_NS, LONGEST_FLIGHT_NS},
    *,
};

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
        orientation: Orientation::Usual as u8,
        offset: 0,
        reserved: [0; 3],
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

fn ingest(
    classifier: &mut Classifier,
    sample: &Sample,
    is_watched: impl Fn(u16) -> bool,
) -> Option<Finding> {
    classifier.ingest(&SampleRecord::try_from(sample).ok()?, is_watched)
}

fn watched(port: u16) -> bool {
    port == 2948
}

fn verdicts(findings: &[Finding]) -> Vec<Verdict> {
    findings.iter().map(|finding| finding.identification.verdict).collect()
}

#[test]
fn identifies_a_payload_at_once() {
    let mut classifier = Classifier::default();
    let get = sample(SampleKind::Payload, Protocol::Tcp, b"GET / HTTP/1.1\r\n\r\n", 5);
    let finding = ingest(&mut classifier, &get, watched).expect("a finding");
    assert_eq!(finding.identification.verdict, Verdict::Http);
    assert_eq!((finding.port, finding.direction), (2948, Direction::Ingress));
    assert_eq!(finding.local.to_string(), "198.51.100.1:2948");
    assert_eq!(finding.peer.to_string(), "192.0.2.7:40000");
    assert_eq!(finding.payload.expect("a payload").size, 18);
    let back = answer(&sample(SampleKind::Payload, Protocol::Tcp, b"SSH-2.0-x\r\n", 6));
    let finding = ingest(&mut classifier, &back, watched).expect("a finding");
    assert_eq!(finding.identification.verdict, Verdict::Ssh);
    assert_eq!(finding.local.port(), 2948);
    assert!(ingest(&mut classifier, &get, |_| false).is_none(), "the port is no longer watched");
}

#[test]
fn an_attempt_without_a_payload_is_a_scan() {
    let mut classifier = Classifier::default();
    assert!(ingest(&mut classifier, &attempt(0), watched).is_none());
    assert_eq!(classifier.expire(ATTEMPT_TIMEOUT_NS - 1), []);
    assert_eq!(verdicts(&classifier.expire(ATTEMPT_TIMEOUT_NS)), [Verdict::ScanNmap]);
    assert_eq!(classifier.expire(u64::MAX), []);
}

#[test]
fn an_attempt_with_a_payload_is_no_finding() {
    for reply in [false, true] {
        let mut classifier = Classifier::default();
        ingest(&mut classifier, &attempt(0), watched);
        let payload = sample(SampleKind::Payload, Protocol::Tcp, b"x", 1);
        let payload = if reply { answer(&payload) } else { payload };
        // A letter says so little that it waits for more.
        assert!(ingest(&mut classifier, &payload, watched).is_none());
        assert_eq!(verdicts(&classifier.expire(u64::MAX)), [Verdict::Text]);
        assert_eq!(classifier.expire(u64::MAX), []);
    }
}

#[test]
fn a_connection_without_a_payload_is_empty() {
    let mut classifier = Classifier::default();
    ingest(&mut classifier, &attempt(0), watched);
    ingest(&mut classifier, &sample(SampleKind::Handshake, Protocol::Tcp, &[], 1), watched);
    assert_eq!(verdicts(&classifier.expire(u64::MAX)), [Verdict::Empty]);
}

#[test]
fn a_later_attempt_replaces_an_earlier_one() {
    let mut classifier = Classifier::default();
    ingest(&mut classifier, &attempt(0), watched);
    ingest(&mut classifier, &attempt(1_000), watched);
    assert_eq!(classifier.expire(ATTEMPT_TIMEOUT_NS), []);
    assert_eq!(classifier.expire(ATTEMPT_TIMEOUT_NS + 1_000).len(), 1);
}

#[test]
fn limits_the_attempts_that_wait() {
    let mut classifier = Classifier::default();
    for port in 0..5_000 {
        ingest(&mut classifier, &Sample { source_port: port, ..attempt(0) }, watched);
    }
    assert_eq!(classifier.expire(u64::MAX).len(), MAX_ATTEMPTS);
}

#[test]
fn the_watched_end_is_local_over_loopback() {
    let mut classifier = Classifier::default();
    let sent = sample(SampleKind::Payload, Protocol::Udp, b"x", 0);
    let sent = Sample { interface: LOOPBACK, direction: Direction::Egress as u8, ..sent };
    let finding = ingest(&mut classifier, &sent, watched).expect("a finding");
    assert_eq!((finding.local.port(), finding.direction), (2948, Direction::Ingress));
    // Elsewhere the peer's port is the peer's.
    let finding =
        ingest(&mut classifier, &Sample { interface: 2, ..sent }, watched).expect("a finding");
    assert_eq!((finding.peer.port(), finding.direction), (2948, Direction::Egress));
    assert_eq!(finding.port, 2948);
}

/// A segment of the client's, behind the first byte of its flow.
fn segment(offset: u16, bytes: &[u8], time_ns: u64) -> Sample {
    let kind = if offset == 0 { SampleKind::Payload } else { SampleKind::Continuation };
    Sample { offset, ..sample(kind, Protocol::Tcp, bytes, time_ns) }
}

#[test]
fn puts_the_first_segments_together() {
    let parts = [segment(0, b"G", 7), segment(1, b"ET / HTTP/1.1\r\n\r\n", 8)];
    let again = [parts[0], parts[0], parts[1]];
    let backwards = [parts[1], parts[0]];
    for samples in [&parts[..], &again, &backwards] {
        let mut classifier = Classifier::default();
        let (last, before) = samples.split_last().expect("segments");
        for sample in before {
            assert_eq!(ingest(&mut classifier, sample, watched), None);
        }
        let finding = ingest(&mut classifier, last, watched).expect("a finding");
        assert_eq!(finding.identification.verdict, Verdict::Http);
        assert_eq!(finding.time_ns, samples[0].time_ns);
        let payload = finding.payload.expect("a payload");
        assert_eq!((&payload.bytes[..], payload.size), (&b"GET / HTTP/1.1\r\n\r\n"[..], 18));
        assert_eq!(classifier.expire(u64::MAX), [], "it is a finding once");
    }
}

#[test]
fn what_nothing_follows_is_what_it_is() {
    let mut classifier = Classifier::default();
    assert_eq!(ingest(&mut classifier, &segment(0, b"hello\r\n", 5), watched), None);
    assert_eq!(classifier.expire(5 + FLIGHT_TIMEOUT_NS - 1), []);
    assert_eq!(verdicts(&classifier.expire(5 + FLIGHT_TIMEOUT_NS)), [Verdict::Text]);
}

/// A request whose host is behind a long header.
fn long_request() -> Vec<u8> {
    let request =
        format!("GET / HTTP/1.1\r\nCookie: {}\r\nHost: far.example\r\n\r\n", "c".repeat(900));
    request.into_bytes()
}

/// The samples of a payload in segments of this length.
fn segments(payload: &[u8], len: usize) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (number, segment_bytes) in payload.chunks(len).enumerate() {
        for (part, bytes) in segment_bytes.chunks(SAMPLE_LEN).enumerate() {
            let wire_len = (segment_bytes.len() - part * SAMPLE_LEN) as u32;
            let offset = (number * len + part * SAMPLE_LEN) as u16;
            samples.push(Sample { wire_len, ..segment(offset, bytes, 5 + number as u64) });
        }
    }
    samples
}

#[test]
fn a_message_that_goes_on_is_one_finding_with_what_is_behind() {
    let request = long_request();
    // In one segment, in some that a sample holds whole, and in some that it does not.
    for len in [2000, 100, 256, 300, 900] {
        let mut classifier = Classifier::default();
        let samples = segments(&request, len);
        let (last, before) = samples.split_last().expect("samples");
        for sample in before {
            assert_eq!(ingest(&mut classifier, sample, watched), None, "{len}");
        }
        let finding = ingest(&mut classifier, last, watched).expect("a finding");
        assert_eq!(finding.identification.details.get("host"), Some(&"far.example".into()));
        let payload = finding.payload.as_ref().expect("a payload");
        assert_eq!((payload.size, &payload.bytes), (request.len(), &request));
        let Some(Kept::Bytes(kept)) = payload.kept(PayloadKeep::Bytes) else { panic!("nothing") };
        assert_eq!(kept.len(), SAMPLE_LEN * 2, "an event does not grow");
        assert_eq!(classifier.expire(u64::MAX), []);
    }
}

#[test]
fn what_comes_behind_a_finding_is_dropped() {
    let mut classifier = Classifier::default();
    let get = segment(0, b"GET / HTTP/1.1\r\n\r\n", 5);
    assert!(ingest(&mut classifier, &get, watched).is_some());
    for offset in 18..80 {
        assert_eq!(ingest(&mut classifier, &segment(offset, b"SSH-2.0-x\r\n", 6), watched), None);
    }
    assert!(ingest(&mut classifier, &get, watched).is_some(), "another connection");
    assert_eq!(classifier.expire(u64::MAX), []);
}

#[test]
fn a_slow_message_is_awaited_as_long_as_it_goes_on_for_a_while() {
    let request = long_request();
    for (len, is_whole) in [(300, true), (40, false)] {
        let mut classifier = Classifier::default();
        let mut findings = Vec::new();
        for (number, sample) in (0..).zip(segments(&request, len)) {
            let time_ns = number * FLIGHT_TIMEOUT_NS * 9 / 10;
            findings.extend(classifier.expire(time_ns));
            findings.extend(ingest(&mut classifier, &Sample { time_ns, ..sample }, watched));
        }
        findings.extend(classifier.expire(u64::MAX));
        assert_eq!(verdicts(&findings), [Verdict::Http], "{len}");
        let size = findings[0].payload.as_ref().expect("a payload").size;
        assert_eq!(size == request.len(), is_whole, "{size} bytes");
    }
    const { assert!(LONGEST_FLIGHT_NS < 10 * FLIGHT_TIMEOUT_NS) };
}

#[test]
fn a_word_that_ended_with_its_segment_keeps_its_verdict() {
    let mut classifier = Classifier::default();
    assert_eq!(ingest(&mut classifier, &segment(0, b"hello\r\n", 5), watched), None);
    assert_eq!(ingest(&mut classifier, &segment(7, &[0, 1, 2, 3], 6), watched), None);
    let findings = classifier.expire(u64::MAX);
    assert_eq!(verdicts(&findings), [Verdict::Text]);
    assert_eq!(findings[0].payload.as_ref().map(|payload| payload.size), Some(7));
}

#[test]
fn an_answer_ends_a_flight() {
    let mut classifier = Classifier::default();
    assert_eq!(ingest(&mut classifier, &segment(0, b"hello\r\n", 5), watched), None);
    let reply = answer(&sample(SampleKind::Payload, Protocol::Tcp, b"SSH-2.0-x\r\n", 6));
    assert!(ingest(&mut classifier, &reply, watched).is_some());
    assert_eq!(ingest(&mut classifier, &segment(7, b"SSH-2.0-y\r\n", 8), watched), None);
    let findings = classifier.expire(u64::MAX);
    assert_eq!(verdicts(&findings), [Verdict::Text]);
    assert_eq!(findings[0].payload.as_ref().map(|payload| payload.size), Some(7));
}

#[test]
fn a_segment_of_no_connection_is_a_scan_at_once() {
    for (flags, window) in [(0x00, 1), (0x01, 1), (0x29, 1), (0x10, 1024), (0x11, 2048)] {
        let mut headers = headers(window, &[]);
        headers[33] = flags;
        let mut classifier = Classifier::default();
        let stray = sample(SampleKind::Stray, Protocol::Tcp, &headers, 3);
        let finding = ingest(&mut classifier, &stray, watched).expect("a finding");
        assert!(finding.identification.verdict.is_scan(), "{finding:?}");
        assert_eq!(finding.payload, None);
    }
}

#[test]
fn tallies_keep_the_last_finding_of_each_verdict() {
    let mut classifier = Classifier::default();
    let mut tallies = Tallies::default();
    let time = |second| jiff::Timestamp::from_second(second).expect("a time");
    for (second, bytes) in [(1, &b"SSH-2.0-a"[..]), (2, b"PING\r\n"), (3, b"SSH-2.0-b")] {
        let payload = sample(SampleKind::Payload, Protocol::Tcp, bytes, 0);
        tallies
            .count(&ingest(&mut classifier, &payload, watched).expect("a finding"), time(second));
    }
    let rows = tallies.of_port(2948);
    assert_eq!(rows.iter().map(|row| row.1).collect::<Vec<_>>(), [Verdict::Ssh, Verdict::Redis]);
    assert_eq!((rows[0].2.count, rows[0].2.time), (2, time(3)));
    assert_eq!(tallies.of_port(2949), []);
}

proptest! {
    #[test]
    fn arbitrary_samples_do_not_panic(bytes in prop::collection::vec(any::<u8>(), size_of::<Sample>())) {
        let sample: Sample = bytemuck::pod_read_unaligned(&bytes);
        let mut classifier = Classifier::default();
        ingest(&mut classifier, &sample, |_| true);
        classifier.expire(u64::MAX);
    }

    #[test]
    fn arbitrary_headers_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..=SAMPLE_LEN)) {
        let mut classifier = Classifier::default();
        ingest(&mut classifier, &sample(SampleKind::ConnectionAttempt, Protocol::Tcp, &bytes, 0), watched);
        ingest(&mut classifier, &sample(SampleKind::Payload, Protocol::Udp, &bytes, 0), watched);
    }
}
