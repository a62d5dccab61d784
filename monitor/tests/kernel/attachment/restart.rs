//! What an agent leaves behind, and what the next one adopts.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    path::Path,
};

use testkit::{
    agent::{Agent, Config, PINS, detach, finish, ghostport, stderr},
    frames::plain_udp,
    programs::best_tc,
    sh,
    wire::Wire,
    world::{Peer, in_world, port},
};

use super::support::{
    await_hooked, await_packets, binds, config, frame, has_clsact, packets, programs_on, send,
    veth_world, watched,
};

#[test]
fn sigterm_detaches_hooks_and_keeps_counters() {
    in_world(|world| {
        for mode in ["auto", "xdp-generic", "tc"] {
            let config = config().mode(mode);
            let (peer, agent) = veth_world(world, &config);
            send(&peer, "peer0", 3);
            await_packets(&agent, "gp0", 3);
            drop(TcpListener::bind(("127.0.0.1", watched())).expect("bound"));
            assert_eq!(binds(&agent), 1);
            assert_ne!(programs_on("gp0"), "");
            assert_eq!(agent.terminate().code(), Some(0));
            assert_eq!(programs_on("gp0"), "", "{mode}");
            assert!(!has_clsact("gp0"));
            assert_eq!(links_left(), 0, "{mode}");

            send(&peer, "peer0", 2);
            drop(UdpSocket::bind(("127.0.0.1", watched())).expect("bound"));
            let agent = Agent::start(world, &config);
            assert_eq!(packets(&agent, "gp0", "ingress"), 3, "{mode}");
            assert_eq!(binds(&agent), 1, "{mode}");
            send(&peer, "peer0", 1);
            await_packets(&agent, "gp0", 4);
            drop(agent);
            detach();
            sh("ip link delete gp0");
        }
    });
}

fn links_left() -> usize {
    fs::read_dir(Path::new(PINS).join("links")).map_or(0, Iterator::count)
}

#[test]
fn keep_attached_counts_on_until_detach() {
    in_world(|world| {
        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        let keep = ["--keep-attached"];
        let agent = Agent::start_with(world, &config(), &keep);
        send(&peer, "peer0", 3);
        await_packets(&agent, "gp0", 3);

        let refused = finish(ghostport().arg("detach"));
        assert_eq!(refused.status.code(), Some(2), "an agent runs");
        assert!(stderr(&refused).contains("runs"), "{}", stderr(&refused));
        assert_eq!(packets(&agent, "gp0", "ingress"), 3);

        assert_eq!(agent.terminate().code(), Some(0));
        send(&peer, "peer0", 2);
        drop(UdpSocket::bind(("127.0.0.1", watched())).expect("bound"));
        let agent = Agent::start_with(world, &config(), &keep);
        await_packets(&agent, "gp0", 5);
        assert_eq!(binds(&agent), 1);
        assert_eq!(agent.terminate().code(), Some(0));

        assert_ne!(programs_on("gp0"), "");
        detach();
        assert_eq!(programs_on("gp0"), "");
        detach();
        let agent = Agent::start(world, &config());
        assert_eq!(packets(&agent, "gp0", "ingress"), 0);
        assert_eq!(binds(&agent), 0);
    });
}

/// An interface that went while no agent ran must not haunt the next.
#[test]
fn forgets_an_interface_removed_between_agents() {
    in_world(|world| {
        let (peer, agent) = veth_world(world, &config());
        send(&peer, "peer0", 3);
        await_packets(&agent, "gp0", 3);
        agent.kill9();
        sh("ip link delete gp0");
        world.veth("gp1", &peer, "peer1");
        let agent = Agent::start(world, &config());
        await_hooked(&agent, &["gp1"]);
        assert!(!agent.metrics().has("ghostport_packets_total", &[("interface", "gp0")]));
        send(&peer, "peer1", 1);
        await_packets(&agent, "gp1", 1);
        agent.kill9();
        detach();
        assert_eq!(programs_on("gp1"), "");
    });
}

/// The next agent has another configuration: other mode, other interfaces, other mechanism.
#[test]
fn adopts_under_another_attachment_mode() {
    in_world(|world| {
        let (peer, agent) = veth_world(world, &config());
        world.veth("gp1", &peer, "peer1");
        await_hooked(&agent, &["gp0", "gp1"]);
        send(&peer, "peer0", 2);
        await_packets(&agent, "gp0", 2);
        agent.kill9();
        let other = Config::new([watched()]).on(&["gp0"]).mode("tc").mechanism("tracepoint");
        let agent = Agent::start(world, &other);
        await_hooked(&agent, &["gp0"]);
        let metrics = agent.metrics();
        assert_eq!(metrics.mechanism("ingress", Some("gp0")).as_deref(), Some(best_tc()));
        assert_eq!(metrics.mechanism("bind", None).as_deref(), Some("tracepoint"));
        assert!(!sh("ip -details link show dev gp0").contains("prog/xdp"));
        assert_eq!(programs_on("gp1"), "");
        send(&peer, "peer0", 1);
        await_packets(&agent, "gp0", 3);
        drop(UdpSocket::bind(("127.0.0.1", watched())).expect("bound"));
        assert_eq!(binds(&agent), 1);
    });
}

/// Hooks that are taken over follow the ports of the agent that took them over.
#[test]
fn adopts_with_other_watched_ports() {
    in_world(|world| {
        let elsewhere = port(2);
        let (peer, agent) = veth_world(world, &config());
        await_hooked(&agent, &["gp0"]);
        agent.kill9();
        let other = Config::new([elsewhere]).on(&["gp*"]);
        let agent = Agent::start(world, &other);
        assert!(agent.log().contains("adopted=true"), "{}", agent.log());
        peer.run(move || {
            let wire = Wire::open("peer0");
            wire.send(&plain_udp(port(1), elsewhere));
            wire.send(&frame());
        });
        await_packets(&agent, "gp0", 1);
        drop(UdpSocket::bind(("127.0.0.1", elsewhere)).expect("bound"));
        let labels = [("port", &*elsewhere.to_string()), ("result", "success")];
        assert_eq!(agent.metrics().sum("ghostport_binds_total", &labels), 1);
    });
}
