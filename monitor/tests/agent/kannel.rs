//! A real gateway of WAP, Kannel, and its own handset: everything that they send is identified, from
//! a capture and by the agent.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    os::fd::OwnedFd,
    path::Path,
    thread,
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};
use serde_json::Value;
use testkit::{
    agent::{Agent, Config, finish, ghostport, stderr, stdout},
    eventually,
    kannel::Kannel,
    wire::capturing_socket,
    world::{World, in_world},
};

/// Ports of the gateway, connectionless and with transactions, and of the handset.
const WSP: u16 = 9200;
const WTP: u16 = 9201;
const PUSH: u16 = 2948;

const PAGE: &str = "<?xml version=\"1.0\"?>\n<!DOCTYPE wml PUBLIC \"-//WAPFORUM//DTD WML 1.1//EN\" \
    \"http://www.wapforum.org/DTD/wml_1.1.xml\">\n<wml><card id=\"main\"><p>Hello</p></card></wml>\n";
const INDICATION: &str = "<?xml version=\"1.0\"?>\n<!DOCTYPE si PUBLIC \"-//WAPFORUM//DTD SI 1.0//EN\" \
    \"http://www.wapforum.org/DTD/si.dtd\">\n<si><indication href=\"http://www.example.net\" \
    si-id=\"1@example.net\" action=\"signal-high\" created=\"1999-06-25T15:23:15Z\">\
    Four new messages</indication></si>\n";
const LOADING: &str = "<?xml version=\"1.0\"?>\n<!DOCTYPE sl PUBLIC \"-//WAPFORUM//DTD SL 1.0//EN\" \
    \"http://www.wapforum.org/DTD/sl.dtd\">\n<sl href=\"http://wap.example.net\" \
    action=\"execute-high\"></sl>\n";

/// A datagram: its ports and its payload.
type Datagram = (u16, u16, Vec<u8>);

/// Serves a page, one that is sent in segments, and nothing else, until the test ends. Returns its
/// address.
fn origin() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(stream.try_clone().expect("cloned")).lines();
            let request = lines.next().and_then(Result::ok).unwrap_or_default();
            // The rest of the head; a body is small enough to be in the buffer.
            lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let (status, kind, body) = match request.split(' ').nth(1) {
                Some("/page.wml") => ("200 OK", "text/vnd.wap.wml", PAGE.to_owned()),
                Some("/large") => ("200 OK", "text/plain", "0123456789".repeat(500)),
                _ => ("404 Not Found", "text/plain", "nothing".to_owned()),
            };
            let _ = write!(
                stream,
                "HTTP/1.0 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
        }
    });
    format!("http://{address}")
}

/// Lets the handset and a push initiator do what they can.
fn exercise(kannel: &Kannel, world: &World) {
    let origin = origin();
    fs::write(world.path("form"), "name=value").expect("written");
    for arguments in [
        "-p 9201 -m 3 -i 0.1 {}/page.wml",
        // A reset of the gateway's memory of transactions; a form; another kind of content.
        "-p 9201 -n {}/page.wml",
        "-p 9201 -P form {}/page.wml",
        "-p 9201 -C mms {}/page.wml",
        // The last acknowledgement and the end of the session apart.
        "-p 9201 -s {}/page.wml",
        "-p 9201 -A Agent/1.0 {}/missing.wml",
        "-p 9201 {}/large",
        "-p 9201 -c 2 -m 4 -d 7 {}/page.wml",
        // Without a session.
        "-p 9200 -M 0 {}/page.wml",
        "-p 9200 -M 0 -P form {}/page.wml",
    ] {
        kannel.browse(&arguments.replace("{}", &origin));
    }
    for (kind, content) in [("si", INDICATION), ("sl", LOADING), ("wml", PAGE), ("multipart", PAGE)]
    {
        let file = world.path(kind);
        fs::write(&file, content).expect("written");
        for application in ["any", "ua", "mms", "nil"] {
            kannel.push(&format!("-c {kind} -a {application}"), &file);
            kannel.push(&format!("-c {kind} -a {application} -n"), &file);
        }
    }
}

/// What a packet socket of loopback has received: every datagram twice, as it leaves and as it
/// arrives.
fn received(socket: &OwnedFd) -> Vec<Datagram> {
    let mut buffer = vec![0; 65_536];
    let mut seen = BTreeSet::new();
    let mut datagrams = Vec::new();
    loop {
        let len = match recv(socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((len, _)) => len,
            Err(Errno::AGAIN) => return datagrams,
            Err(error) => panic!("{error}"),
        };
        let Some((&[_, _], packet)) = buffer[12..len].split_first_chunk() else { continue };
        let is_udp = packet.len() > 28 && packet[0] == 0x45 && packet[9] == 17;
        if is_udp && seen.insert(packet.to_vec()) {
            let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
            datagrams.push((port(20), port(22), packet[28..].to_vec()));
        }
    }
}

/// A capture in which each datagram has a conversation of its own, so that each is identified: the
/// client's port is its number.
fn capture(datagrams: &[Datagram]) -> Vec<u8> {
    const RAW_IP: u32 = 101;
    let mut file = Vec::new();
    file.extend(0xa1b2_c3d4_u32.to_le_bytes());
    file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    file.extend(RAW_IP.to_le_bytes());
    for (number, (source, destination, payload)) in datagrams.iter().enumerate() {
        let client = 20_000 + number as u16;
        let [source, destination] =
            [source, destination].map(|port| if *port > 10_000 { client } else { *port });
        // Pushes have two ports of their own: there, the address is the number.
        let mut packet = vec![0x45, 0];
        packet.extend((28 + payload.len() as u16).to_be_bytes());
        packet.extend([0, 7, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51]);
        packet.extend(client.to_be_bytes());
        packet.extend(source.to_be_bytes());
        packet.extend(destination.to_be_bytes());
        packet.extend((8 + payload.len() as u16).to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(payload);
        file.extend([0; 8]);
        file.extend([packet.len() as u32; 2].map(u32::to_le_bytes).concat());
        file.extend(packet);
    }
    file
}

/// What `ghostport identify` says of each datagram, in their order.
fn identified(datagrams: &[Datagram], file: &Path) -> Vec<Value> {
    fs::write(file, capture(datagrams)).expect("written");
    let output = finish(ghostport().args(["identify", "--json"]).arg(file));
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let findings: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(findings.len(), datagrams.len(), "each is a conversation");
    let number = |finding: &Value| {
        let ends =
            ["source", "destination"].map(|key| finding[key].as_str().expect(key).to_owned());
        let host = ends.iter().find(|end| end.starts_with("198.51.")).expect("a number");
        let bytes: Vec<u16> =
            host.split([':', '.']).map(|part| part.parse().expect(host)).collect();
        bytes[2] << 8 | bytes[3]
    };
    let by_number: BTreeMap<u16, Value> =
        findings.into_iter().map(|finding| (number(&finding), finding)).collect();
    by_number.into_values().collect()
}

/// A segment of a long message after the first carries a number and bytes in the middle of something:
/// WAP-224-WTP §8.3.6. It is no conversation's first.
fn is_continuation((source, _, payload): &Datagram) -> bool {
    *source == WTP && payload[0] >> 3 & 0x0f == 6
}

/// What may be said of a datagram.
fn verdict_of((source, destination, payload): &Datagram) -> &'static str {
    // Tokens of public identifiers, SI 1.0 and SL 1.0, behind the headers.
    let has = |document: &[u8]| payload.windows(document.len()).any(|bytes| bytes == document);
    match (source, destination) {
        (_, &PUSH) if has(b"\x02\x05\x6a") => "wap-service-indication",
        (_, &PUSH) if has(b"\x02\x06\x6a") => "wap-service-loading",
        (_, &PUSH) => "wsp-push",
        (&WSP, _) | (_, &WSP) => "wsp",
        _ => "wtp",
    }
}

#[test]
fn everything_a_real_gateway_sends_is_identified() {
    in_world(|world| {
        let config = Config::new([PUSH, WSP, WTP]).on(&["lo"]);
        let agent = Agent::start(world, &config);
        let kannel = Kannel::start(world);
        let socket = capturing_socket(&[]);
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 16 << 20).expect("room");
        // Sampling begins with the first reading of the counters.
        thread::sleep(Duration::from_millis(1_500));
        exercise(&kannel, world);

        let mut datagrams = received(&socket);
        let is_ours = |port: &u16| [PUSH, WSP, WTP].contains(port);
        datagrams.retain(|(source, destination, _)| is_ours(source) || is_ours(destination));
        let whole = datagrams.len();
        datagrams.retain(|datagram| !is_continuation(datagram));
        assert!(whole > datagrams.len(), "the large page came in segments");
        assert!(datagrams.len() > 100, "{} datagrams", datagrams.len());
        let found = identified(&datagrams, &world.path("kannel.pcap"));
        let wrong: Vec<String> = datagrams
            .iter()
            .zip(&found)
            .filter(|(datagram, found)| {
                found["verdict"] != verdict_of(datagram) || found["grade"] == "suspect"
            })
            .map(|((source, destination, payload), found)| {
                format!("{source} {destination} {payload:02x?}: {found}")
            })
            .collect();
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), found.len(), wrong.join("\n"));

        let live = eventually("what the agent identified", || {
            let events = agent.events();
            let verdicts: BTreeSet<String> = events
                .iter()
                .filter_map(|event| event["ghostport.verdict"].as_str())
                .map(str::to_owned)
                .collect();
            ["wsp", "wtp", "wap-service-indication"]
                .iter()
                .all(|verdict| verdicts.contains(*verdict))
                .then_some(verdicts)
        });
        assert_eq!(live.len(), 3, "nothing else: {live:?}");
    });
}
