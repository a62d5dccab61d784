//! The history by day, and what `ghostport report` and `check --at` make of it.

use std::{
    net::{Ipv4Addr, UdpSocket},
    path::Path,
    process,
};

use ghostport::{
    api::report::{Report, Verdict},
    store::HistoryReader,
};
use jiff::Timestamp;
use testkit::{
    agent::{Agent, Config, finish, ghostport, json, stderr, stdout},
    eventually,
    world::{HERE, Peer, THERE, World, in_world, port},
};

fn report(config: &Path, arguments: &[&str]) -> process::Output {
    let config = config.to_str().expect("a path");
    finish(ghostport().args(["report", "--config", config]).args(arguments))
}

/// Sends datagrams to a port of this host, where nothing answers.
fn send(peer: &Peer, port: u16, count: usize) {
    peer.run(move || {
        let socket = UdpSocket::bind((THERE, 0)).expect("bound");
        for _ in 0..count {
            // The error is that of a datagram before, which the host refused.
            let _ = socket.send_to(b"x", (HERE, port));
        }
    });
}

/// Waits until the agent has seen so many packets: a refused datagram is not sent.
fn counted(agent: &Agent, port: u16) -> u64 {
    agent
        .metrics()
        .sum("ghostport_packets_total", &[("port", &port.to_string()), ("direction", "ingress")])
}

#[test]
fn a_report_has_every_packet_across_a_kill_and_who_held_the_port() {
    in_world(|world: &World| {
        let peer = world.peer();
        let [used, quiet] = [port(0), port(1)];
        let config = Config::new([used, quiet]).on(&["gp0"]);
        let agent = Agent::start(world, &config);
        let path = config.write(world);
        let store = ghostport::config::Config::load(Some(&path), &Default::default())
            .expect("a configuration")
            .store
            .path;
        eventually("the first save", || {
            let reader = HistoryReader::open(&store).ok()?;
            reader.chronicle().ok().flatten()
        });
        let since = Timestamp::now().to_string();

        send(&peer, used, 5);
        agent.kill9();
        // The hooks go on counting.
        send(&peer, used, 3);
        let agent = Agent::start(world, &config);
        let expected = counted(&agent, used);
        assert!(expected >= 2, "{expected}");
        let holder = UdpSocket::bind((Ipv4Addr::LOCALHOST, used)).expect("bound");
        eventually("its event", || (agent.count_events("bind") > 0).then_some(()));
        drop(holder);
        eventually("its event", || (agent.count_events("close") > 0).then_some(()));
        assert!(agent.terminate().success());

        let answer = report(&path, &["--since", &since, "--format", "json"]);
        assert_eq!(answer.status.code(), Some(1), "{}", stderr(&answer));
        let document: Report = json(&answer);
        let of = |port| document.ports.iter().find(|of| of.port == port).expect("a port");
        let (of_used, of_quiet) = (of(used), of(quiet));
        assert_eq!(of_used.verdict, Verdict::Used);
        assert_eq!(of_used.packets.received, expected, "{of_used:?}");
        let peers: Vec<_> = of_used.callers.talkers.iter().map(|caller| caller.address).collect();
        assert_eq!((peers, of_used.callers.addresses), (vec![THERE.into()], 1));
        assert_eq!(of_used.binds.succeeded, 1, "{of_used:?}");
        let executable = std::env::current_exe().expect("a path");
        let [held] = &of_used.holders[..] else { panic!("{of_used:?}") };
        assert_eq!(held.executable.as_deref(), executable.to_str());
        assert_eq!((held.pid, held.since_by.as_str()), (Some(process::id()), "call"));
        assert_eq!(held.until_by.as_deref(), Some("call"), "{held:?}");
        assert_ne!(of_quiet.verdict, Verdict::Used);
        assert_eq!(document.hosts[0].gap_count, 1, "the kill: {document:?}");

        // Since the second start nothing has happened there, and all of it is covered.
        let gap_end = document.hosts[0].gaps[0].until.to_string();
        let answer = report(&path, &[&quiet.to_string(), "--since", &gap_end]);
        assert_eq!(answer.status.code(), Some(0), "{}{}", stdout(&answer), stderr(&answer));
        assert!(stdout(&answer).contains("not used"), "{}", stdout(&answer));
        let answer = report(&path, &[&quiet.to_string()]);
        assert_eq!(answer.status.code(), Some(2), "180 days: {}", stdout(&answer));

        // As of a time at which the port was held.
        let at = held.since.max(held.until.expect("an end")).to_string();
        let then = finish(
            ghostport()
                .args(["check", &used.to_string(), "--at", &at, "--json"])
                .args(["--config", path.to_str().expect("a path")]),
        );
        assert_eq!(then.status.code(), Some(1), "{}", stderr(&then));
        let then: serde_json::Value = json(&then);
        let held_then = &then["ports"][0]["sockets"][0];
        assert_eq!(held_then["transport"], "udp", "{then}");
        assert_eq!(held_then["holders"][0]["pid"], process::id(), "{then}");
    });
}
