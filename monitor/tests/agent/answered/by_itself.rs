//! Packets that a program of others leads past the sockets, or that a process answers by itself.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process, thread,
    time::Duration,
};

use aya::programs::XdpMode;
use rustix::net::{
    RecvFlags, recv,
    sockopt::{Timeout, set_socket_timeout},
};
use serde_json::json;
use testkit::{
    agent::Agent,
    eventually, eventually_within,
    frames::syn_ack,
    is_emulated, patience,
    programs::Programs,
    sk_lookup::{self, ChosenSocket},
    socket_map::{self, Splice},
    wire::{Wire, capturing_socket, udp_to},
    world::{HERE, Peer, in_world, netns_inode},
    xdp_socket::XdpSocket,
};

use super::support::{
    Background, Expected, SERVER, ask, assert_answered, assert_not_answered, check, config,
    connect, nft, serve, view, watched,
};

#[test]
fn a_program_that_chooses_sockets_is_named() {
    in_world(|world| {
        let peer = world.peer();
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, SERVER)).expect("bound");
        let Some(program) = ChosenSocket::attach(watched(), &listener) else {
            return eprintln!("skipped: this kernel has no such programs");
        };
        let _server = serve(listener);
        // Which ports it takes is not known before a packet comes.
        let (code, document, page) = check();
        assert_eq!(code, Some(1), "{document:#}");
        let named = format!("{} (program {})", sk_lookup::NAME, program.id());
        for way in document["answered_by"].as_array().expect("ways") {
            let facts = (&way["path"], &way["in_use"], &way["target"], &way["holders"][0]["pid"]);
            let (path, in_use) = (json!("sk_lookup"), json!(false));
            assert_eq!(facts, (&path, &in_use, &json!(named), &json!(process::id())), "{way:#}");
        }
        let line = format!("{} may be answered by a sk_lookup program, {named} (", watched());
        assert!(page.contains(&line), "{page}");

        let agent = Agent::start(world, &config());
        let _connection = connect(&peer, watched());
        // The agent has given up the capability to open programs, and knows only the number.
        let target = format!("program {}", program.id());
        let expected = Expected { protocol: "tcp", path: "sk_lookup", target: Some(&target) };
        let way = assert_answered(&agent, expected);
        assert_eq!(way["holders"][0]["pid"], process::id(), "{way:#}");
        let (_, _, page) = check();
        let line = format!("{} is answered by a sk_lookup program, ", watched());
        assert!(page.contains(&line), "{page}");
    });
}

#[test]
fn check_names_a_program_that_chooses_sockets_in_another_namespace() {
    in_world(|_| {
        let peer = Peer::alone();
        assert_eq!(check().0, Some(0));
        let (there, program) = peer.run(|| {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, SERVER)).expect("bound");
            (netns_inode(), ChosenSocket::attach(watched(), &listener))
        });
        let Some(_program) = program else {
            return eprintln!("skipped: this kernel has no such programs");
        };
        let (code, document, _) = check();
        assert_eq!(code, Some(1), "{document:#}");
        assert_eq!(document["answered_by"][0]["netns_inode"], there, "{document:#}");
    });
}

/// Sends the answers to connections that the stack of this host knows nothing of, until it is dropped.
fn answer_from_nowhere() -> Background {
    let wire = Wire::open("gp0");
    Background::repeat(move || {
        wire.send(&syn_ack(watched(), 40_000));
        thread::sleep(Duration::from_millis(20));
    })
}

#[test]
fn an_xdp_program_that_keeps_packets_from_the_stack_is_named() {
    in_world(|world| {
        let _peer = world.peer();
        let mut foreign = Programs::load();
        let id = foreign.attach_xdp("xdp_drop", "gp0", XdpMode::Driver);
        let agent = Agent::start(world, &config());
        let _answering = answer_from_nowhere();
        let target = format!("program {id} on gp0");
        let expected = Expected { protocol: "tcp", path: "xdp", target: Some(&target) };
        assert_answered(&agent, expected);
        let (_, _, page) = check();
        let line = format!("{} is answered by an XDP program, {target} (", watched());
        assert!(page.contains(&line), "{page}");
    });
}

#[test]
fn without_an_xdp_program_of_others_such_answers_stay_unknown() {
    in_world(|world| {
        let _peer = world.peer();
        let agent = Agent::start(world, &config());
        assert_eq!(
            agent.metrics().mechanism("ingress", Some("gp0")).as_deref(),
            Some("xdp-native")
        );
        let _answering = answer_from_nowhere();
        assert_answered(&agent, Expected { protocol: "tcp", path: "unknown", target: None });
    });
}

#[test]
fn check_names_an_xdp_program_that_may_give_packets_to_a_socket() {
    in_world(|world| {
        let _peer = world.peer();
        let _socket = match XdpSocket::bind("gp0") {
            Ok(socket) => socket,
            Err(error) => return eprintln!("skipped: no AF_XDP here: {error}"),
        };
        // Without a program the socket gets nothing.
        let (code, document, _) = check();
        assert_eq!((code, document.get("answered_by")), (Some(0), None), "{document:#}");
        let mut foreign = Programs::load();
        let id = foreign.attach_xdp("xdp_drop", "gp0", XdpMode::Driver);
        let (code, document, page) = check();
        assert_eq!(code, Some(1), "{document:#}");
        let way = &document["answered_by"][0];
        let named = format!("xdp_drop (program {id}) on gp0");
        assert_eq!((&way["path"], &way["target"]), (&json!("xdp"), &json!(named)), "{way:#}");
        assert_eq!(way["holders"][0]["pid"], process::id(), "{way:#}");
        let line = format!("{} may be answered by an XDP program, {named} (", watched());
        assert!(page.contains(&line), "{page}");
        if sockets_are_listed() {
            let filter = "unknown: what an XDP program gives to queue 0 of gp0";
            assert_eq!(document["captures"][0]["filter"], filter, "{document:#}");
        }
    });
}

/// Whether the kernel lists AF_XDP sockets with their interfaces.
fn sockets_are_listed() -> bool {
    Path::new("/sys/module/xsk_diag").is_dir()
}

#[test]
fn an_xdp_program_without_sockets_is_not_said_to_answer() {
    in_world(|world| {
        let _peer = world.peer();
        Programs::load().attach_xdp("xdp_pass", "gp0", XdpMode::Driver);
        let (code, document, _) = check();
        assert_eq!((code, document.get("answered_by")), (Some(0), None), "{document:#}");
    });
}

#[test]
fn a_program_that_passes_data_on_to_another_socket_is_named() {
    in_world(|world| {
        let peer = world.peer();
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, watched())).expect("bound");
        let mut client = peer.run(|| TcpStream::connect((HERE, watched())).expect("connected"));
        let (accepted, _) = listener.accept().expect("accepted");
        if is_emulated() {
            return eprintln!("skipped: guests have no module to list sockets with their cookies");
        }
        let behind = TcpListener::bind((Ipv4Addr::LOCALHOST, SERVER)).expect("bound");
        let upstream = TcpStream::connect((Ipv4Addr::LOCALHOST, SERVER)).expect("connected");
        let (mut server, _) = behind.accept().expect("accepted");
        let splice = match Splice::new() {
            Ok(splice) => splice,
            Err(error) => return eprintln!("skipped: no programs on sockets here: {error}"),
        };
        splice.send_through(&upstream).expect("in the map");
        // The port's own sockets are not in it yet.
        assert_eq!(check().1.get("answered_by"), None);

        splice.pass_on(&accepted).expect("in the map");
        client.write_all(b"hi").expect("sent");
        let mut room = [0; 2];
        server.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        server.read_exact(&mut room).expect("passed on");
        let (code, document, page) = check();
        assert_eq!(code, Some(1), "{document:#}");
        let way = &document["answered_by"][0];
        let named = format!("{} (program {})", socket_map::NAME, splice.program_id());
        assert_eq!((&way["path"], &way["target"]), (&json!("sockmap"), &json!(named)), "{way:#}");
        assert_eq!((&way["in_use"], &way["connections"]), (&json!(true), &json!(1)), "{way:#}");
        assert_eq!(way["holders"][0]["pid"], process::id(), "{way:#}");
        let line = format!("{} is answered by a program on sockets, {named} (", watched());
        assert!(page.contains(&line), "{page}");
    });
}

/// Answers every datagram to the watched port with itself, by packet sockets alone.
fn answer_frames() -> Background {
    let receiver = capturing_socket(&udp_to(watched()));
    let soon = Some(Duration::from_millis(50));
    set_socket_timeout(&receiver, Timeout::Recv, soon).expect("a timeout");
    let sender = Wire::open("gp0");
    let mut room = [0; 2048];
    Background::repeat(move || {
        if let Ok((_, length)) = recv(&receiver, room.as_mut_slice(), RecvFlags::empty()) {
            let frame = &mut room[..length];
            // Addresses and ports the other way round; a sum of 0 is none.
            let [ethernet, ip, udp] = [0, 14, 34];
            for (first, second, length) in
                [(ethernet, ethernet + 6, 6), (ip + 12, ip + 16, 4), (udp, udp + 2, 2)]
            {
                for offset in 0..length {
                    frame.swap(first + offset, second + offset);
                }
            }
            frame[udp + 6..udp + 8].fill(0);
            sender.send(frame);
        }
    })
}

/// Drops what a packet socket sees as well, so that the stack does not answer it.
fn without_the_stacks_answer() {
    nft(&format!(
        "table ip filter {{ chain in {{ type filter hook input priority 0;
         udp dport {} drop; }}; }}",
        watched()
    ));
}

#[test]
fn a_process_that_answers_by_a_packet_socket_is_named() {
    in_world(|world| {
        let peer = world.peer();
        without_the_stacks_answer();
        let agent = Agent::start(world, &config());
        assert!(!ask(&peer, watched(), Duration::from_millis(300)));
        assert_not_answered(&agent, "probed");
        let _answering = answer_frames();
        assert!(ask(&peer, watched(), Duration::from_secs(20)), "no answer");
        let own = format!("{} (pid {})", super::support::own_name(), process::id());
        let expected = Expected { protocol: "udp", path: "packet_socket", target: Some(&own) };
        let way = assert_answered(&agent, expected);
        assert_eq!(way["holders"][0]["pid"], process::id(), "{way:#}");
        let view = view(&agent);
        assert_eq!(view["captures"][0]["only_watched"], true, "{view:#}");
        let (_, _, page) = check();
        let line = format!("{} is answered by a packet socket of {own}", watched());
        assert!(page.contains(&line), "{page}");
    });
}

#[test]
fn a_packet_socket_that_is_gone_before_the_scan_is_named_too() {
    in_world(|world| {
        let peer = world.peer();
        without_the_stacks_answer();
        let agent = Agent::start(world, &config());
        let answering = answer_frames();
        eventually("the event of the capture", || {
            let mut events = agent.events().into_iter();
            events.find(|event| event["event.name"] == "ghostport.captured")
        });
        assert!(ask(&peer, watched(), Duration::from_secs(20)), "no answer");
        drop(answering);
        let own = format!("{} (pid {})", super::support::own_name(), process::id());
        let expected = Expected { protocol: "udp", path: "packet_socket", target: Some(&own) };
        assert_answered(&agent, expected);
        eventually_within(2 * patience(), "that it is over", || {
            (view(&agent)["answered_by"][0]["over"] == true).then_some(())
        });
    });
}
