//! Packets that a program of others leads past the sockets, or that a process answers by itself.

use std::{
    net::{Ipv4Addr, TcpListener},
    process,
    time::Duration,
};

use rustix::net::{
    RecvFlags, recv,
    sockopt::{Timeout, set_socket_timeout},
};
use testkit::{
    agent::Agent,
    sk_lookup::ChosenSocket,
    wire::{Wire, capturing_socket, udp_to},
    world::in_world,
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
        let (code, document, _) = check();
        assert_eq!((code, document.get("answered_by")), (Some(0), None), "{document:#}");

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

#[test]
fn a_process_that_answers_by_a_packet_socket_is_named() {
    in_world(|world| {
        let peer = world.peer();
        // Without the stack's own answer.
        nft(&format!(
            "table ip filter {{ chain in {{ type filter hook input priority 0;
             udp dport {} drop; }}; }}",
            watched()
        ));
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
