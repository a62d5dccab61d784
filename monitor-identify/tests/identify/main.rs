//! Identification against payloads of which it is known what they are, and against noise.

mod captures;
mod corpus;
mod cost;
mod noise;

use corpus::{Sample, legacy, others};
use monitor_common::flow::{Direction, Protocol};
use monitor_identify::{Grade, Identification, Payload, Verdict, identify};
use noise::Noise;
use proptest::prelude::*;

fn describe(sample: &Sample, found: &Identification) -> String {
    let json = serde_json::to_string(found).expect("JSON");
    format!("{}: wanted {} {}, found {json}", sample.place, sample.verdict, sample.grade)
}

fn check(samples: &[Sample]) {
    let mut wrong = Vec::new();
    for sample in samples {
        let found = identify(&sample.payload());
        if found.verdict.name() != sample.verdict || found.grade.name() != sample.grade {
            wrong.push(describe(sample, &found));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), samples.len(), wrong.join("\n"));
}

#[test]
fn legacy_protocols_and_attacks_are_what_they_are() {
    check(&legacy());
}

#[test]
fn other_software_is_what_it_is() {
    let samples = others();
    assert!(samples.len() > 60, "the corpus is there");
    check(&samples);
}

/// Whatever the ports, and without knowing the transport.
#[test]
fn other_software_is_nothing_legacy() {
    for sample in others() {
        for transport in [None, Some(Protocol::Udp), Some(Protocol::Tcp)] {
            for port in [2923, 2948, 2949, 3716, 3717, 9200, 9202, 9203] {
                let payload = Payload {
                    transport,
                    source_port: Some(9200),
                    destination_port: Some(port),
                    ..sample.payload()
                };
                let found = identify(&payload);
                assert!(!found.verdict.is_legacy(), "{}", describe(&sample, &found));
            }
        }
    }
}

/// A capture that ends early must not turn an honest push into an attack.
#[test]
fn a_cut_is_no_attack() {
    for sample in legacy() {
        let whole = identify(&sample.payload());
        if whole.verdict.is_attack() {
            continue;
        }
        for len in 0..sample.bytes.len() {
            let payload = Payload { bytes: &sample.bytes[..len], ..sample.payload() };
            let payload = Payload { wire_len: sample.bytes.len(), ..payload };
            let found = identify(&payload);
            assert!(!found.verdict.is_attack(), "{len} bytes of {}", describe(&sample, &found));
        }
    }
}

/// Of headers that the capture cuts, nothing is said that was not seen.
#[test]
fn a_cut_in_the_headers_is_said() {
    let mut headers =
        b"application/vnd.wap.mms-message\0\xaf\x84\xb1http://mms.example.net/".to_vec();
    headers.resize(120, b'a');
    headers.extend(b"\0\xb4\x80");
    let mut push = vec![0x59, 0x06, headers.len() as u8];
    push.extend(&headers);
    push.extend(b"\x8c\x82\x98T1\0\x8d\x90");
    let cut_after = |push: &[u8], seen: usize| {
        let payload = Payload { wire_len: push.len(), ..Payload::of(&push[..3 + seen]) };
        let found = identify(&payload);
        let reason = found.reason.clone().into_owned();
        (found.verdict, found.grade, reason, found.details)
    };
    for seen in 32..headers.len() {
        let (verdict, grade, reason, details) = cut_after(&push, seen);
        assert_eq!((verdict, grade), (Verdict::MmsNotification, Grade::Consistent), "{seen}");
        assert!(reason.contains(&format!("{seen} of 123 bytes of its headers")), "{reason}");
        assert!(!reason.contains("body is not"), "{reason}");
        assert_eq!(details.get("body_bytes"), Some(&8.into()));
    }
    // Of a content type without its end it is not known what it is.
    let (verdict, grade, _, details) = cut_after(&push, 31);
    assert_eq!((verdict, grade), (Verdict::WspPush, Grade::Consistent));
    assert_eq!(details.get("content_type"), Some(&"application/vnd.wap.mms-message…".into()));
    // What no header can be is malformed, wherever the capture ends.
    push[3 + 34] = 0xff;
    let (verdict, grade, reason, _) = cut_after(&push, 100);
    assert_eq!((verdict, grade), (Verdict::WspPush, Grade::Suspect));
    assert!(reason.contains("malformed"), "{reason}");
    // Nor do headers end where their content type does not.
    let push = b"\x59\x06\x04\x1e\xae\x81\xea\xaf\x82\xb4\x80";
    let found = identify(&Payload { wire_len: 40, ..Payload::of(push) });
    assert_eq!((found.verdict, found.grade), (Verdict::WspPush, Grade::Suspect), "{found:?}");
}

/// Nor of those of a push inside WTP.
#[test]
fn a_cut_inside_a_transaction_is_no_end() {
    let mut invoke = b"\x0a\x00\x01\x00\x06\x50application/vnd.wap.mms-message\0\xaf\x84".to_vec();
    let payload = Payload { wire_len: 200, ..Payload::of(&invoke) };
    let found = identify(&payload);
    assert_eq!((found.verdict, found.grade), (Verdict::Wtp, Grade::Consistent), "{found:?}");
    invoke[5] = 34;
    let found = identify(&Payload::of(&invoke));
    assert_eq!((found.verdict, found.grade), (Verdict::Wtp, Grade::Confirmed), "{found:?}");
}

/// What a push needs to be recognised is in its first 256 bytes.
#[test]
fn what_the_kernel_captures_is_enough() {
    for sample in legacy() {
        let captured = &sample.bytes[..sample.bytes.len().min(256)];
        let payload = Payload { bytes: captured, wire_len: sample.bytes.len(), ..sample.payload() };
        let found = identify(&payload);
        // An overlong field that the capture cuts is as long as can be seen.
        if sample.verdict != "mms-overflow" {
            assert_eq!(found.verdict.name(), sample.verdict, "{}", describe(&sample, &found));
        }
    }
}

#[test]
fn details_are_decoded() {
    let samples = legacy();
    let details = |place: usize| {
        let found = identify(&samples[place].payload());
        serde_json::to_value(&found.details).expect("JSON")
    };
    let message = details(2);
    assert_eq!(message["pdu"], "Push");
    assert_eq!(message["content_type"], "application/vnd.wap.mms-message");
    assert_eq!(message["application_id"], "x-wap-application:mms.ua");
    assert_eq!(message["message_type"], "m-notification-ind");
    assert_eq!(message["transaction_id"], "T1");
    assert_eq!(message["from"], "+15550100/TYPE=PLMN");
    assert_eq!(message["message_class"], "personal");
    assert_eq!(message["message_size"], 10000);
    assert_eq!(message["expires_in_seconds"], 172_800);
    assert_eq!(message["content_location"], "http://mms.example.net/1");
    let indication = details(4);
    assert_eq!(indication["address"], "http://mysite.ru");
    assert_eq!(indication["message"], "mysite");
    let loading = details(7);
    assert_eq!(loading["action"], "execute-high");
    assert_eq!(loading["address"], "http://example.net/x");
    let provisioning = details(8);
    assert_eq!(provisioning["security"], "USERPIN");
    let settings = serde_json::json!([
        "[NAPDEF]",
        "NAPID=NAP1",
        "NAP-ADDRESS=internet",
        "AUTHSECRET=(not shown)"
    ]);
    assert_eq!(provisioning["settings"], settings);
}

#[test]
fn an_attack_says_where_it_comes_from() {
    let samples = legacy();
    let flood = samples.iter().find(|sample| sample.verdict == "notiflood").expect("a sample");
    let sent_by_us = |direction| {
        let payload = Payload { direction, ..flood.payload() };
        identify(&payload).details.get("sent_by_this_host").cloned()
    };
    assert_eq!(sent_by_us(Some(Direction::Egress)), Some(true.into()));
    assert_eq!(sent_by_us(Some(Direction::Ingress)), Some(false.into()));
    assert_eq!(sent_by_us(None), None);
}

#[test]
fn nothing_is_empty_and_nothing_captured_is_unknown() {
    let nothing = identify(&Payload::of(&[]));
    assert_eq!((nothing.verdict, nothing.grade), (Verdict::Empty, Grade::Confirmed));
    let not_captured = identify(&Payload { wire_len: 9, ..Payload::of(&[]) });
    assert_eq!(not_captured.verdict, Verdict::Unknown);
}

/// Every verdict of the contract has its name, once.
#[test]
fn names_are_those_of_the_contract() {
    let mut names: Vec<&str> = Verdict::ALL.iter().map(|verdict| verdict.name()).collect();
    let contract = "wsp wsp-push mms-notification wap-service-indication wap-service-loading \
        oma-provisioning wtp wtls wv-cir wap-push-overflow mms-overflow notiflood http http2 \
        websocket tls dtls ssh mongodb smb rdp mysql postgresql redis memcached mqtt amqp socks \
        sip stun dns quic bittorrent minecraft raknet vnc ftp smtp telnet adb java-rmi snmp ntp \
        wireguard mining json text scan-zmap scan-masscan scan-nmap scan-zgrab scan-syn \
        scan-stealth empty unknown shell gh0st meterpreter jdwp ldap dcerpc kerberos netbios irc \
        pop3 imap xmpp nntp rtsp openvpn ike tds tns db2 kafka cassandra elasticsearch zookeeper \
        nats stomp zmtp thrift giop ajp13 t3 bitcoin ethereum cotp s7comm modbus dnp3 bacnet enip \
        iec104 opcua ssdp mdns sunrpc tftp coap source-query ipmi smpp gtp diameter radius tacacs \
        syslog netflow dhcp zabbix munin x11 rsync git rtp rtcp mgcp h323 skinny pptp bgp";
    let mut wanted: Vec<&str> = contract.split_ascii_whitespace().collect();
    names.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(names, wanted);
}

/// Legacy verdicts of noise.
fn legacy_in_noise(count: u64, seed: u64) -> Vec<String> {
    let samples = others();
    let mut noise = Noise::new(seed);
    let mut bytes = Vec::new();
    let mut wrong = Vec::new();
    for round in 0..count {
        if round % 2 == 0 {
            noise.fill(&mut bytes);
        } else {
            let (sample, other) = (noise.below(samples.len()), noise.below(samples.len()));
            noise.mutate(&samples[sample].bytes, &samples[other].bytes, &mut bytes);
        }
        let payload = noise.payload(&bytes);
        let cut = Payload { wire_len: bytes.len() + 1 + noise.below(300), ..payload };
        for payload in [payload, cut] {
            let found = identify(&payload);
            if found.verdict.is_legacy() {
                wrong.push(format!("seed {seed}, round {round}: {payload:02x?} is {found:?}"));
            }
        }
    }
    wrong
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} verdicts:\n{}", wrong.len(), wrong.join("\n"));
}

/// What differs from a legacy protocol by a byte or two; in the corpus its mutations would be one.
#[test]
fn neighbours_of_legacy_protocols_are_nothing_legacy() {
    // The first transaction of all ends no session; prose with the name of a wake-up; mail and Redis.
    let neighbours: [(&[u8], Protocol, u16); 4] = [
        (b"\x0a\0\0\0\x05\0", Protocol::Udp, 9201),
        (b"\x0a\0\0\0\x08\x02", Protocol::Udp, 9201),
        (b"WVCI is an acronym\n", Protocol::Udp, 3717),
        (b"HELO eG\r\nPING\r\nPING\nP", Protocol::Tcp, 3717),
    ];
    for (bytes, transport, port) in neighbours {
        let payload = Payload {
            transport: Some(transport),
            destination_port: Some(port),
            ..Payload::of(bytes)
        };
        let found = identify(&payload);
        assert!(!found.verdict.is_legacy(), "{bytes:02x?} is {found:?}");
    }
}

#[test]
fn noise_is_nothing_legacy() {
    assert_none(&legacy_in_noise(if cfg!(miri) { 100 } else { 100_000 }, 1));
}

/// Random bytes are text or nothing, and rarely enough a verdict that is not confirmed.
#[test]
fn noise_confirms_nothing() {
    const ROUNDS: u32 = 100_000;
    let mut noise = Noise::new(4);
    let mut bytes = Vec::new();
    let mut verdicts = 0;
    for _ in 0..ROUNDS {
        noise.fill(&mut bytes);
        let payload = noise.payload(&bytes);
        let found = identify(&payload);
        if matches!(found.verdict, Verdict::Unknown | Verdict::Text) {
            continue;
        }
        verdicts += 1;
        assert_ne!(found.grade, Grade::Confirmed, "{payload:02x?} is {found:?}");
    }
    assert!(verdicts < ROUNDS / 2_000, "{verdicts} of {ROUNDS}");
}

#[test]
#[ignore = "takes minutes in a release build: cargo test --release --test identify -- --ignored ten_million"]
fn ten_million_of_noise_are_nothing_legacy() {
    let wrong: Vec<String> = (1..=5).flat_map(|seed| legacy_in_noise(10_000_000, seed)).collect();
    assert_none(&wrong);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]

    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600), missing in 0_usize..600) {
        let payload = Payload { wire_len: bytes.len() + missing, ..Payload::of(&bytes) };
        let found = identify(&payload);
        prop_assert!(!found.reason.is_empty());
    }
}
