//! Interfaces that come, go and match.

use std::{fs, path::Path, time::Duration};

use serde_json::Value;
use testkit::{
    agent::{Agent, Config, PINS},
    eventually, eventually_within, sh,
    wire::Wire,
    world::{Peer, in_world},
};

use super::support::{await_hooked, await_packets, config, frame, hooked, programs_on, send};

#[test]
fn attaches_to_interfaces_as_they_come_and_go() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        let unmatched = || agent.metrics().value("ghostport_unmatched_interface_patterns", &[]);
        assert_eq!(unmatched(), 1.0);
        await_hooked(&agent, &[]);

        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        await_hooked(&agent, &["gp0"]);
        assert_eq!(unmatched(), 0.0);
        send(&peer, "peer0", 3);
        await_packets(&agent, "gp0", 3);

        sh("ip link set gp0 down");
        sh("ip link set gp0 up");
        send(&peer, "peer0", 1);
        await_packets(&agent, "gp0", 4);

        sh("ip link set gp0 down");
        sh("ip link set gp0 name gp7");
        sh("ip link set gp7 up");
        await_hooked(&agent, &["gp7"]);
        send(&peer, "peer0", 1);
        await_packets(&agent, "gp7", 5);
        assert!(!agent.metrics().has("ghostport_packets_total", &[("interface", "gp0")]));

        sh("ip link set gp7 down");
        sh("ip link set gp7 name cold0");
        await_hooked(&agent, &[]);
        eventually("nothing on cold0", || programs_on("cold0").is_empty().then_some(()));
        assert_eq!(unmatched(), 1.0);
        sh("ip link set cold0 name gp0");
        sh("ip link set gp0 up");
        await_hooked(&agent, &["gp0"]);

        sh("ip link delete gp0");
        await_hooked(&agent, &[]);
        assert!(!agent.metrics().has("ghostport_packets_total", &[("interface", "gp0")]));
        world.veth("gp0", &peer, "peer0");
        await_hooked(&agent, &["gp0"]);
        send(&peer, "peer0", 2);
        await_packets(&agent, "gp0", 2);

        let elsewhere = Peer::alone();
        sh(&format!("ip link set gp0 netns {}", elsewhere.thread_id()));
        await_hooked(&agent, &[]);
        elsewhere.run(|| {
            eventually("nothing on gp0", || programs_on("gp0").is_empty().then_some(()));
        });
        let errors = agent.metrics().sum("ghostport_kernel_errors_total", &[]);
        assert_eq!(errors, 0);
        assert_eq!(agent.count_events("hook_changed"), 0, "{:?}", agent.events());
        assert_eq!(agent.terminate().code(), Some(0));
    });
}

/// `lo` has no native XDP, and nothing else is allowed.
#[test]
fn emits_an_event_about_a_new_interface_that_cannot_be_attached_to() {
    in_world(|world| {
        let native = || config().mode("xdp-native");
        let agent = Agent::start(world, &native());
        native().on(&["gp*", "lo"]).write(world);
        assert!(agent.reload(), "{}", agent.log());
        let reported = eventually("an event", || {
            let is_it = |event: &Value| event["event.name"] == "ghostport.hook_changed";
            agent.events().into_iter().find(is_it)
        });
        assert_eq!(reported["ghostport.hook"], "ingress", "{reported}");
        assert_eq!(reported["network.interface.name"], "lo", "{reported}");
        assert_eq!(reported["ghostport.severity"], "warning", "{reported}");
        assert!(reported.get("ghostport.mechanism").is_none(), "{reported}");
        native().write(world);
        assert!(agent.reload(), "{}", agent.log());
        assert_eq!(agent.count_events("hook_changed"), 1, "{:?}", agent.events());
    });
}

/// As a host does it that starts many containers.
#[test]
fn attaches_to_two_hundred_interfaces_at_once() {
    const INTERFACES: usize = 200;
    const MANY: Duration = Duration::from_secs(60);
    in_world(|world| {
        let agent = Agent::start(world, &config());
        let batch = |commands: &dyn Fn(usize) -> String| {
            let lines: String = (0..INTERFACES).map(commands).collect();
            fs::write(world.path("batch"), lines).expect("written");
            sh(&format!("ip -batch {}", world.path("batch").display()));
        };
        batch(&|n| format!("link add gp{n} type veth peer name other{n}\nlink set gp{n} up\n"));
        eventually_within(MANY, "all of them", || {
            (hooked(&agent).len() == INTERFACES).then_some(())
        });
        batch(&|n| format!("link delete gp{n}\n"));
        eventually_within(MANY, "none of them", || hooked(&agent).is_empty().then_some(()));
        let left = fs::read_dir(Path::new(PINS).join("counters")).expect("pins").count();
        assert_eq!(left, 0, "counters of interfaces that are gone");
    });
}

#[test]
fn selects_interfaces_by_globs() {
    in_world(|world| {
        let peer = Peer::alone();
        for (ours, theirs) in [("gp0", "peer0"), ("gp1", "peer1"), ("xx0", "peer2")] {
            world.veth(ours, &peer, theirs);
        }
        let chosen = Config { exclude: vec!["?p1"], ..config().on(&["gp*", "lo", "nosuch0"]) };
        let agent = Agent::start(world, &chosen);
        await_hooked(&agent, &["gp0", "lo"]);
        assert_eq!(agent.metrics().value("ghostport_unmatched_interface_patterns", &[]), 1.0);
        assert!(agent.log().contains("nosuch0"), "no warning of nosuch0: {}", agent.log());
        for untouched in ["gp1", "xx0"] {
            assert_eq!(programs_on(untouched), "");
        }
        // Globs are read again with the rest.
        Config { exclude: vec![], ..config() }.write(world);
        assert!(agent.reload());
        await_hooked(&agent, &["gp0", "gp1"]);
        eventually("nothing on lo", || programs_on("lo").is_empty().then_some(()));
        drop(agent);
        // The command line replaces both.
        let agent = Agent::start_with(world, &chosen, &["--interface", "xx*"]);
        await_hooked(&agent, &["xx0"]);
    });
}

/// Native XDP on veth refuses it.
#[test]
fn counts_jumbo_frames() {
    in_world(|world| {
        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        sh("ip link set gp0 mtu 9000");
        peer.run(|| sh("ip link set peer0 mtu 9000"));
        let agent = Agent::start(world, &config());
        let ingress = agent.metrics().mechanism("ingress", Some("gp0"));
        assert!(ingress.is_some(), "{}", agent.log());
        if ingress.as_deref() != Some("xdp-native") {
            assert!(agent.log().contains("MTU of 9000"), "{}", agent.log());
        }
        peer.run(|| {
            let mut large = frame();
            large.resize(9014, 0);
            Wire::open("peer0").send(&large);
        });
        await_packets(&agent, "gp0", 1);
        let bytes = agent.metrics().sum("ghostport_bytes_total", &[("interface", "gp0")]);
        assert_eq!(bytes, 9014);
    });
}
