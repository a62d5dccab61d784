//! Programs, filters and qdiscs of others on the same interface.

use aya::programs::{TcAttachType, XdpMode};
use testkit::{
    agent::{Agent, detach},
    programs::{Programs, best_tc, without_tcx},
    sh,
    wire::Wire,
    world::{Peer, in_world},
};

use super::support::{
    BOTH_WAYS, await_packets, config, frame, has_clsact, packets, programs_on, send,
};

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
        let reason = agent.hook_at_start("ingress", Some("gp0"))["reason"].to_string();
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
