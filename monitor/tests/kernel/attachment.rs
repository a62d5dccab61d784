//! Hooks come and go with interfaces, find a place beside others, and leave nothing behind.

use std::{
    collections::BTreeSet,
    fs,
    net::{TcpListener, UdpSocket},
    path::Path,
    time::Duration,
};

use aya::programs::{TcAttachType, XdpMode};
use testkit::{
    agent::{Agent, Config, PINS, detach, finish, ghostport, stderr},
    eventually, eventually_within,
    frames::plain_udp,
    programs::{Programs, best_tc, tcx_programs, without_tcx},
    sh,
    wire::Wire,
    world::{Peer, World, in_world, port},
};

const BOTH_WAYS: [TcAttachType; 2] = [TcAttachType::Ingress, TcAttachType::Egress];

fn watched() -> u16 {
    port(0)
}

fn frame() -> Vec<u8> {
    plain_udp(port(1), watched())
}

/// Sends `times` frames from the peer.
fn send(peer: &Peer, interface: &'static str, times: u32) {
    peer.run(move || {
        let wire = Wire::open(interface);
        (0..times).for_each(|_| wire.send(&frame()));
    });
}

/// Packets that were counted on an interface, in one direction.
fn packets(agent: &Agent, interface: &str, direction: &str) -> u64 {
    let labels = [("interface", interface), ("direction", direction)];
    agent.metrics().sum("ghostport_packets_total", &labels)
}

fn binds(agent: &Agent) -> u64 {
    let labels = [("port", &*watched().to_string()), ("result", "success")];
    agent.metrics().sum("ghostport_binds_total", &labels)
}

#[track_caller]
fn await_packets(agent: &Agent, interface: &str, amount: u64) {
    eventually("packets", || (packets(agent, interface, "ingress") >= amount).then_some(()));
    assert_eq!(packets(agent, interface, "ingress"), amount);
}

/// Interfaces with both traffic hooks attached.
fn hooked(agent: &Agent) -> BTreeSet<String> {
    let metrics = agent.metrics();
    let attached = |hook: &str| -> BTreeSet<String> {
        metrics
            .series
            .iter()
            .filter(|(name, labels, value)| {
                name == "ghostport_hook_attached" && labels["hook"] == hook && *value == 1.0
            })
            .map(|(_, labels, _)| labels["interface"].clone())
            .collect()
    };
    &attached("ingress") & &attached("egress")
}

#[track_caller]
fn await_hooked(agent: &Agent, interfaces: &[&str]) {
    let wanted: BTreeSet<String> = interfaces.iter().map(|name| (*name).to_owned()).collect();
    let what = format!("hooks on {interfaces:?} alone");
    eventually(&what, || (hooked(agent) == wanted).then_some(()));
}

/// What is attached to an interface of this thread's namespace, as other tools see it. Programs of
/// ghostport have its programs' names.
fn programs_on(interface: &str) -> String {
    let link = sh(&format!("ip -details link show dev {interface}"));
    let xdp = link.lines().filter(|line| line.contains("prog/xdp")).map(str::to_owned);
    let tcx = BOTH_WAYS.into_iter().flat_map(|way| {
        tcx_programs(interface, way).into_iter().map(move |id| format!("tcx {way:?} {id}"))
    });
    let filters =
        ["ingress", "egress"].map(|way| sh(&format!("tc filter show dev {interface} {way}")));
    let all: Vec<String> = xdp.chain(tcx).chain(filters).collect();
    all.join("\n").trim().to_owned()
}

fn has_clsact(interface: &str) -> bool {
    sh(&format!("tc qdisc show dev {interface}")).contains("clsact")
}

fn veth_world(world: &World, config: &Config) -> (Peer, Agent) {
    let peer = Peer::alone();
    world.veth("gp0", &peer, "peer0");
    (peer, Agent::start(world, config))
}

fn config() -> Config {
    Config::new([watched()]).on(&["gp*"])
}

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
        assert_eq!(agent.terminate().code(), Some(0));
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

#[test]
fn leaves_a_foreign_xdp_program_attached() {
    in_world(|world| {
        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        let mut foreign = Programs::load();
        let id = foreign.attach_xdp("xdp_pass", "gp0", XdpMode::Driver);
        let before = programs_on("gp0");
        assert!(before.contains(&format!("id {id} ")), "{before}");

        let agent = Agent::start(world, &config());
        let ingress = agent.metrics().mechanism("ingress", Some("gp0"));
        assert_eq!(ingress.as_deref(), Some(best_tc()));
        let told = agent.events().into_iter().find(|event| {
            event["event.name"] == "ghostport.hook_changed"
                && event["ghostport.hook"] == "ingress"
                && event["network.interface.name"] == "gp0"
        });
        let reason = told.expect("an event")["ghostport.reason"].to_string();
        assert!(reason.contains("another XDP program"), "{reason}");
        send(&peer, "peer0", 2);
        await_packets(&agent, "gp0", 2);
        assert!(programs_on("gp0").contains(&format!("id {id} ")));
        assert_eq!(agent.terminate().code(), Some(0));
        assert_eq!(programs_on("gp0"), before);

        // Where native XDP is demanded, there is no next rung, and the agent says so.
        let agent = Agent::start(world, &config().mode("xdp-native"));
        assert_eq!(agent.metrics().mechanism("ingress", Some("gp0")), None);
        let labels = [("hook", "ingress"), ("interface", "gp0")];
        assert_eq!(agent.metrics().value("ghostport_hook_attached", &labels), 0.0);
        assert!(agent.log().contains("another XDP program"), "{}", agent.log());
        agent.kill9();
        detach();
        assert_eq!(programs_on("gp0"), before);
    });
}

#[test]
fn leaves_a_foreign_clsact_filter_attached() {
    in_world(|world| {
        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        sh("tc qdisc add dev gp0 clsact");
        let mut foreign = Programs::load();
        for way in BOTH_WAYS {
            foreign.attach_filter("gp0", way);
        }
        let before = programs_on("gp0");
        assert_eq!(before.matches("name tc_foreign").count(), 2, "{before}");
        let config = config().mode("tc");

        let agent = Agent::start(world, &config);
        send(&peer, "peer0", 2);
        await_packets(&agent, "gp0", 2);
        assert_ne!(programs_on("gp0"), before);
        assert_eq!(agent.terminate().code(), Some(0));
        assert_eq!(programs_on("gp0"), before);

        Agent::start(world, &config).kill9();
        assert_ne!(programs_on("gp0"), before);
        detach();
        assert_eq!(programs_on("gp0"), before);
        assert!(has_clsact("gp0"));
    });
}

/// With no room on TCX, as on a kernel that has none. `gp1` already has a clsact qdisc with filters
/// of another program; `gp0` has none.
#[test]
fn falls_back_to_clsact_without_loss() {
    in_world(|world| {
        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        world.veth("gp1", &peer, "peer1");
        let _crowd = without_tcx(&["gp0", "gp1"]);
        sh("tc qdisc add dev gp1 clsact");
        let mut foreign = Programs::load();
        for way in BOTH_WAYS {
            foreign.attach_filter("gp1", way);
        }
        let before = ["gp0", "gp1"].map(programs_on);
        let config = config().mode("tc");

        let agent = Agent::start(world, &config);
        for interface in ["gp0", "gp1"] {
            for hook in ["ingress", "egress"] {
                let found = agent.metrics().mechanism(hook, Some(interface));
                assert_eq!(found.as_deref(), Some("clsact"), "{hook} of {interface}");
            }
        }
        send(&peer, "peer0", 2);
        send(&peer, "peer1", 3);
        Wire::open("gp0").send(&frame());
        await_packets(&agent, "gp0", 2);
        await_packets(&agent, "gp1", 3);
        assert_eq!(packets(&agent, "gp0", "egress"), 1);

        agent.kill9();
        send(&peer, "peer0", 4);
        let agent = Agent::start(world, &config);
        send(&peer, "peer0", 1);
        await_packets(&agent, "gp0", 7);
        assert_eq!(agent.terminate().code(), Some(0));
        assert_eq!(["gp0", "gp1"].map(programs_on), before);
        assert!(!has_clsact("gp0") && has_clsact("gp1"), "our qdisc goes, theirs stays");

        Agent::start(world, &config).kill9();
        assert!(has_clsact("gp0"));
        detach();
        assert_eq!(["gp0", "gp1"].map(programs_on), before);
        assert!(!has_clsact("gp0") && has_clsact("gp1"), "our qdisc goes, theirs stays");
    });
}

/// Another program puts a filter on a qdisc that ghostport made. The qdisc then stays.
#[test]
fn leaves_a_qdisc_that_another_program_uses() {
    in_world(|world| {
        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        let _crowd = without_tcx(&["gp0"]);
        let agent = Agent::start(world, &config().mode("tc"));
        assert!(has_clsact("gp0"));
        let mut foreign = Programs::load();
        foreign.attach_filter("gp0", TcAttachType::Egress);
        assert_eq!(agent.terminate().code(), Some(0));
        assert!(has_clsact("gp0"));
        assert_eq!(
            programs_on("gp0").matches("name tc_foreign").count(),
            1,
            "{}",
            programs_on("gp0")
        );
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
