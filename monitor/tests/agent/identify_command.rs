//! `ghostport identify` and `ghostport explain` as a user calls them.

use std::{fs, path::PathBuf, process::Output, time::Duration};

use assert_cmd::{Command, cargo::cargo_bin_cmd};
use serde_json::Value;

/// A service indication for mysite.ru.
const INDICATION: &[u8] =
    b"\xdc\x06\x01\xae\x02\x05\x6a\x00\x45\xc6\x0c\x03mysite.ru\x00\x01\x03mysite\x00\x01\x01";

fn ghostport() -> Command {
    cargo_bin_cmd!("ghostport")
}

fn run(args: &[&str], stdin: &[u8]) -> Output {
    ghostport()
        .args(args)
        .write_stdin(stdin)
        .timeout(Duration::from_secs(60))
        .output()
        .expect("ghostport starts")
}

fn lines(output: &Output) -> Vec<Value> {
    let text = str::from_utf8(&output.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn ip(protocol: u8, transport: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + transport.len() as u16).to_be_bytes());
    packet.extend([0, 7, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    packet.extend(transport);
    packet
}

fn udp(payload: &[u8]) -> Vec<u8> {
    let mut datagram = [9200_u16.to_be_bytes(), 2948_u16.to_be_bytes()].concat();
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    ip(17, &datagram)
}

/// A segment from port 40000 to 2948, or back.
fn tcp(is_back: bool, flags: u8, payload: &[u8]) -> Vec<u8> {
    let (from, to) = if is_back { (2948_u16, 40000_u16) } else { (40000, 2948) };
    let mut segment = [from.to_be_bytes(), to.to_be_bytes()].concat();
    // A SYN counts as a byte: what follows it begins at 1.
    let sequence = u8::from(flags & 0x02 == 0);
    segment.extend([0, 0, 0, sequence, 0, 0, 0, 0, 0x60, flags]);
    segment.extend([4, 0, 0, 0, 0, 0, 2, 4, 5, 0xb4]);
    segment.extend(payload);
    let mut packet = ip(6, &segment);
    if is_back {
        packet[12..20].copy_from_slice(&[192, 0, 2, 2, 192, 0, 2, 1]);
    }
    packet
}

fn pcap(linktype: u32, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
    file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0]);
    file.extend(linktype.to_le_bytes());
    for packet in packets {
        file.extend([0; 8]);
        file.extend((packet.len() as u32).to_le_bytes());
        file.extend((packet.len() as u32).to_le_bytes());
        file.extend(packet);
    }
    file
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padding = body.len().next_multiple_of(4) - body.len();
    let len = (12 + body.len() + padding) as u32;
    let mut block = [kind.to_le_bytes(), len.to_le_bytes()].concat();
    block.extend(body);
    block.resize(block.len() + padding, 0);
    block.extend(len.to_le_bytes());
    block
}

fn pcapng(linktype: u16, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut header = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
    header.extend([1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    let mut file = block(0x0a0d_0d0a, &header);
    let [low, high] = linktype.to_le_bytes();
    file.extend(block(1, &[low, high, 0, 0, 0, 0, 4, 0]));
    for packet in packets {
        let mut body = vec![0; 12];
        body.extend((packet.len() as u32).to_le_bytes());
        body.extend((packet.len() as u32).to_le_bytes());
        body.extend(packet);
        file.extend(block(6, &body));
    }
    file
}

/// A file that is there for as long as this lives.
struct Capture(PathBuf);

impl Capture {
    fn of(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("ghostport-{}-{name}", std::process::id()));
        fs::write(&path, bytes).expect("a file");
        Self(path)
    }

    fn identify(&self) -> Output {
        run(&["identify", "--json", self.0.to_str().expect("a path")], &[])
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn identifies_digits_and_bytes_alike() {
    let hex: String = INDICATION.iter().map(|byte| format!("{byte:02X}:")).collect();
    let by_hex = run(&["identify", "--udp", "--port", "2948", "--json", "--hex", &hex], &[]);
    let by_stdin = run(&["identify", "--udp", "--port", "2948", "--json", "-"], INDICATION);
    assert!(by_hex.status.success() && by_stdin.status.success());
    assert_eq!(by_hex.stdout, by_stdin.stdout);
    let [found] = &lines(&by_hex)[..] else { panic!("not one object") };
    assert_eq!(found["verdict"], "wap-service-indication");
    assert_eq!(found["grade"], "confirmed");
    assert_eq!(found["details"]["address"], "http://mysite.ru");
    assert!(found["reason"].as_str().is_some_and(|reason| reason.contains("push")));
    let over_tcp = run(&["identify", "--tcp", "--json", "-"], INDICATION);
    assert_eq!(lines(&over_tcp)[0]["verdict"], "unknown");
}

#[test]
fn reads_every_link_layer() {
    let packet = udp(INDICATION);
    let behind = |header: &[u8]| [header, &packet].concat();
    let mut ethernet = vec![2; 12];
    ethernet.extend([0x81, 0, 0, 5, 8, 0]);
    let mut cooked = vec![0; 14];
    cooked.extend([8, 0]);
    let mut cooked2 = vec![8, 0];
    cooked2.resize(20, 0);
    let packets = [
        (1, behind(&ethernet)),
        (101, behind(&[])),
        (228, behind(&[])),
        (113, behind(&cooked)),
        (276, behind(&cooked2)),
        (0, behind(&[2, 0, 0, 0])),
        (108, behind(&[0, 0, 0, 2])),
    ];
    for (linktype, packet) in packets {
        let packet = [packet];
        for (name, file) in
            [("pcap", pcap(linktype, &packet)), ("pcapng", pcapng(linktype as u16, &packet))]
        {
            let output = Capture::of(&format!("{linktype}.{name}"), &file).identify();
            assert_eq!(output.status.code(), Some(0), "{linktype} {name}: {output:?}");
            let [found] = &lines(&output)[..] else { panic!("{linktype} {name}: {output:?}") };
            assert_eq!(found["verdict"], "wap-service-indication", "{linktype} {name}");
            assert_eq!(found["transport"], "udp");
            assert_eq!(found["source"], "192.0.2.1:9200");
            assert_eq!(found["destination"], "192.0.2.2:2948");
        }
    }
}

#[test]
fn prints_one_line_a_conversation() {
    let (syn, syn_ack, ack, rst) = (0x02, 0x12, 0x10, 0x04);
    let conversation = [
        tcp(false, syn, &[]),
        tcp(true, syn_ack, &[]),
        tcp(false, ack, &[]),
        tcp(true, ack, b"SSH-2.0-OpenSSH_9.2\r\n"),
        tcp(false, ack, b"SSH-2.0-libssh\r\n"),
        udp(INDICATION),
        udp(INDICATION),
    ];
    let output = Capture::of("conversation.pcap", &pcap(101, &conversation)).identify();
    let verdicts: Vec<_> = lines(&output).iter().map(|found| found["verdict"].clone()).collect();
    assert_eq!(verdicts, ["ssh", "wap-service-indication"]);
    // The end that opened the connection is its source, even when the other end sends first.
    assert_eq!(lines(&output)[0]["source"], "192.0.2.1:40000");
    let half_open = [tcp(false, syn, &[]), tcp(true, syn_ack, &[]), tcp(false, rst, &[])];
    let output = Capture::of("half-open.pcap", &pcap(101, &half_open)).identify();
    assert_eq!(lines(&output)[0]["verdict"], "scan-nmap");
    let silent = [tcp(false, syn, &[]), tcp(true, syn_ack, &[]), tcp(false, ack, &[])];
    let output = Capture::of("silent.pcap", &pcap(101, &silent)).identify();
    assert_eq!(lines(&output)[0]["verdict"], "empty");
}

#[test]
fn reports_damage_after_what_it_could_read() {
    let whole = pcap(101, &[udp(INDICATION), udp(INDICATION)]);
    let output = Capture::of("cut.pcap", &whole[..whole.len() - 3]).identify();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(lines(&output).len(), 1);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("in the middle of a block"), "{error}");
    let text = Capture::of("text.pcap", b"no capture at all").identify();
    assert_eq!(text.status.code(), Some(2));
    assert!(text.stdout.is_empty());
    let unknown = Capture::of("usb.pcap", &pcap(189, &[vec![0; 64]])).identify();
    assert_eq!(unknown.status.code(), Some(2));
    assert_eq!(run(&["identify", "--json", "/does/not/exist.pcap"], &[]).status.code(), Some(2));
    assert_eq!(run(&["identify", "--hex", "xyz"], &[]).status.code(), Some(2));
}

/// A datagram of which the capture has only the beginning is no attack, however its sizes look.
#[test]
fn accepts_packets_cut_by_the_snapshot_length() {
    let packet = udp(INDICATION);
    let mut file = pcap(101, &[packet[..40].to_vec()]);
    // The record's second length, behind 24 bytes of header and 12 of the record's own: the bytes
    // that were on the wire.
    file[36..40].copy_from_slice(&(packet.len() as u32).to_le_bytes());
    let output = Capture::of("snapped.pcap", &file).identify();
    assert_eq!(output.status.code(), Some(0));
    assert_ne!(lines(&output)[0]["verdict"], "wap-push-overflow");
}

/// No signature looks further than the largest datagram, but what was there is said.
#[test]
fn counts_every_byte() {
    let found = lines(&run(&["identify", "--json", "-"], &[0; 100_000]));
    assert_eq!(found[0]["details"]["bytes"], 100_000);
    let found = lines(&run(&["identify", "--json", "-"], &[0; 65_535]));
    assert_eq!(found[0]["details"]["bytes"], 65_535);
}

#[test]
fn reads_and_filters_a_capture_from_standard_input() {
    let file = pcap(101, &[udp(INDICATION), tcp(false, 0x02, &[])]);
    assert_eq!(lines(&run(&["identify", "--json", "-"], &file)).len(), 2);
    assert_eq!(lines(&run(&["identify", "--json", "--udp", "-"], &file)).len(), 1);
    assert_eq!(lines(&run(&["identify", "--json", "--port", "9200", "-"], &file)).len(), 1);
    assert_eq!(lines(&run(&["identify", "--json", "--port", "9201", "-"], &file)).len(), 0);
}

#[test]
fn explain_describes_known_ports_and_reports_unknown_ones() {
    let text = |args: &[&str]| {
        let output = run(args, &[]);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, table) = text(&["explain"]);
    assert_eq!(code, Some(0));
    for port in ["2923", "2948", "2949", "3716", "3717", "2805", "3590", "4035", "4036", "9203"] {
        assert!(table.contains(port), "{port}: {table}");
    }
    let (code, page) = text(&["explain", "2948", "--sources"]);
    assert_eq!(code, Some(0));
    assert!(page.contains("wap-push") && page.contains("source"), "{page}");
    assert_eq!(text(&["explain", "443"]).0, Some(0));
    assert_eq!(text(&["explain", "65000"]).0, Some(2));
    assert_eq!(text(&["explain", "0"]).0, Some(2));
}

#[test]
fn escapes_the_name_of_a_file_that_cannot_be_read() {
    let output = run(&["identify", "no\u{1b}[2J\u{202e}\r\nsuch.pcap"], b"");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(said.contains(r"no\u{1b}[2J\u{202e}\u{d}\u{a}such.pcap"), "{said}");
    assert!(!said.contains(['\u{1b}', '\u{202e}', '\r']), "{said:?}");
}
