//! Hooks that something other than ghostport detaches while the agent runs, or while none does.

use std::{
    fs,
    net::UdpSocket,
    path::{Path, PathBuf},
};

use monitor_kernel::sys::detach_link;
use serde_json::Value;
use testkit::{
    agent::{Agent, Config, PINS},
    eventually,
    metrics::Metrics,
    programs::without_tcx,
    sh,
    world::{Peer, World, in_world},
};

use super::support::{
    await_hooked, await_packets, binds, config, doctor_document, doctors_fact, packets, send,
    veth_world, watched,
};

/// The pins of a hook's links.
fn links(hook: &str) -> Vec<PathBuf> {
    let pins = fs::read_dir(Path::new(PINS).join("links")).expect("pins").flatten();
    let is_of_hook = |pin: &PathBuf| {
        let name = pin.file_name().and_then(|name| name.to_str()).expect("a name");
        name.starts_with(&format!("{hook}:"))
    };
    pins.map(|entry| entry.path()).filter(is_of_hook).collect()
}

fn is_attached(metrics: &Metrics, hook: &str, interface: &str) -> bool {
    let labels = [("hook", hook), ("interface", interface)];
    metrics.value("ghostport_hook_attached", &labels) == 1.0
}

fn losses(agent: &Agent, hook: &str) -> f64 {
    agent.metrics().value("ghostport_hooks_lost_total", &[("hook", hook)])
}

/// The events of a hook since it was first attached: whether it was attached, and why not.
fn changes(agent: &Agent, hook: &str) -> Vec<(bool, String)> {
    let events = agent.events().into_iter().filter(|event| {
        event["event.name"] == "ghostport.hook_changed" && event["ghostport.hook"] == hook
    });
    let facts = |event: Value| {
        let reason = event["ghostport.reason"].as_str().unwrap_or_default().to_owned();
        let severity = if event["ghostport.mechanism"].is_null() { "warning" } else { "info" };
        assert_eq!(event["ghostport.severity"], severity, "{event}");
        (!event["ghostport.mechanism"].is_null(), reason)
    };
    events.map(facts).collect()
}

/// After `detach` the hook is gone by every account, and then attached again.
#[track_caller]
fn is_lost_and_restored(agent: &Agent, hook: &str, interface: &str, detach: impl FnOnce()) {
    let before = (losses(agent, hook), changes(agent, hook).len());
    let mechanism =
        agent.metrics().mechanism(hook, Some(interface).filter(|name| !name.is_empty()));
    detach();
    eventually("a gauge at 0", || (!is_attached(&agent.metrics(), hook, interface)).then_some(()));
    // The hook stays lost for a second.
    let ready = agent.get("/readyz");
    assert_eq!(ready.status, 503, "{}", ready.body);
    assert!(ready.body.contains("detached"), "{}", ready.body);
    eventually("a gauge at 1", || is_attached(&agent.metrics(), hook, interface).then_some(()));
    eventually("an agent that is ready", || (agent.get("/readyz").status == 200).then_some(()));
    assert_eq!(losses(agent, hook), before.0 + 1.0);
    let changes = eventually("both events", || {
        let changes = changes(agent, hook).into_iter().skip(before.1);
        // The event of the start may be late.
        let changes: Vec<(bool, String)> = changes.skip_while(|(attached, _)| *attached).collect();
        (changes.len() >= 2).then_some(changes)
    });
    let [(false, reason), (true, _)] = &changes[..] else { panic!("{changes:?}") };
    assert!(reason.contains("detached"), "{reason}");
    let again = agent.metrics().mechanism(hook, Some(interface).filter(|name| !name.is_empty()));
    assert_eq!(again, mechanism);
}

#[test]
fn a_detached_link_is_noticed_and_attached_again() {
    in_world(|world| {
        for mode in ["auto", "xdp-generic", "tc"] {
            let (peer, agent) = veth_world(world, &config().mode(mode));
            await_hooked(&agent, &["gp0"]);
            if links("ingress").is_empty() {
                return eprintln!("skipped: this kernel has no TCX");
            }
            for hook in ["ingress", "egress"] {
                let pins = links(hook);
                is_lost_and_restored(&agent, hook, "gp0", || {
                    pins.iter().for_each(|pin| detach_link(pin).expect("detached"));
                });
            }
            let before = packets(&agent, "gp0", "ingress");
            send(&peer, "peer0", 3);
            await_packets(&agent, "gp0", before + 3);
            assert_eq!(agent.terminate().code(), Some(0));
            sh("ip link delete gp0");
        }
    });
}

/// The agent holds its links open, and pins them again for the next one.
#[test]
fn a_removed_pin_detaches_nothing() {
    in_world(|world| {
        let (peer, agent) = veth_world(world, &config());
        await_hooked(&agent, &["gp0"]);
        for hook in ["ingress", "egress", "bind", "listen", "close"] {
            let pins = links(hook);
            pins.iter().for_each(|pin| fs::remove_file(pin).expect("removed"));
            drop(UdpSocket::bind(("127.0.0.1", watched())).expect("bound"));
            eventually("the pins", || (links(hook) == pins).then_some(()));
        }
        assert_eq!(binds(&agent), 5);
        for hook in ["ingress", "egress", "bind", "listen", "close"] {
            assert_eq!(losses(&agent, hook), 0.0, "{hook}");
        }
        agent.kill9();
        drop(UdpSocket::bind(("127.0.0.1", watched())).expect("bound"));
        send(&peer, "peer0", 2);
        let agent = Agent::start(world, &config());
        await_packets(&agent, "gp0", 2);
        assert_eq!(binds(&agent), 6);
    });
}

#[test]
fn a_lost_socket_hook_is_attached_again() {
    in_world(|world| {
        // Nothing detaches a tracing program but the end of its link, which the agent holds.
        let config = Config::new([watched()]).mechanism("cgroup");
        let agent = Agent::start(world, &config);
        let pins = links("bind");
        is_lost_and_restored(&agent, "bind", "", || {
            // Links of tracepoints refuse.
            assert!(pins.iter().any(|pin| detach_link(pin).is_ok()));
        });
        let before = binds(&agent);
        drop(UdpSocket::bind(("127.0.0.1", watched())).expect("bound"));
        eventually("a bind", || (binds(&agent) == before + 1).then_some(()));
        assert_eq!(agent.terminate().code(), Some(0));
    });
}

#[test]
fn a_removed_filter_is_noticed_and_attached_again() {
    in_world(|world| {
        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        let _crowd = without_tcx(&["gp0"]);
        let agent = Agent::start(world, &config().mode("tc"));
        await_hooked(&agent, &["gp0"]);
        for hook in ["ingress", "egress"] {
            is_lost_and_restored(&agent, hook, "gp0", || {
                sh(&format!("tc filter del dev gp0 {hook}"));
            });
        }
        send(&peer, "peer0", 2);
        await_packets(&agent, "gp0", 2);
        // With its qdisc both are gone.
        let before = losses(&agent, "ingress");
        sh("tc qdisc del dev gp0 clsact");
        eventually("a loss", || (losses(&agent, "ingress") == before + 1.0).then_some(()));
        await_hooked(&agent, &["gp0"]);
        assert_eq!(agent.terminate().code(), Some(0));
        assert!(!super::support::has_clsact("gp0"));
    });
}

#[test]
fn an_interface_that_goes_has_lost_no_hook() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        for _ in 0..20 {
            let peer = Peer::alone();
            world.veth("gp0", &peer, "peer0");
            await_hooked(&agent, &["gp0"]);
            sh("ip link delete gp0");
            await_hooked(&agent, &[]);
        }
        assert_eq!(losses(&agent, "ingress") + losses(&agent, "egress"), 0.0);
    });
}

/// Nothing is adopted that does no work.
#[test]
fn a_start_attaches_what_was_detached_without_an_agent() {
    in_world(|world| {
        for mechanism in ["auto", "cgroup"] {
            let config = config().mechanism(mechanism);
            let (peer, agent) = veth_world(world, &config);
            await_hooked(&agent, &["gp0"]);
            agent.kill9();
            for pin in links("ingress").iter().chain(&links("egress")) {
                detach_link(pin).expect("detached");
            }
            if mechanism == "cgroup" {
                // Links of tracepoints refuse.
                let detached = links("bind").iter().filter(|pin| detach_link(pin).is_ok()).count();
                assert!(detached > 0);
            }
            let agent = Agent::start(world, &config);
            await_hooked(&agent, &["gp0"]);
            let before = (packets(&agent, "gp0", "ingress"), binds(&agent));
            send(&peer, "peer0", 3);
            await_packets(&agent, "gp0", before.0 + 3);
            drop(UdpSocket::bind(("127.0.0.1", watched())).expect("bound"));
            eventually("a bind", || (binds(&agent) == before.1 + 1).then_some(()));
            assert_eq!(agent.terminate().code(), Some(0));
            sh("ip link delete gp0");
        }
    });
}

fn doctor(world: &World) -> (Option<i32>, Value) {
    let (code, document) = doctor_document(world);
    let hooks = document["hooks"].as_array().expect("hooks").clone();
    let is_ours = |hook: &&Value| hook["hook"] == "ingress" && hook["interface"] == "gp0";
    (code, hooks.iter().find(is_ours).expect("the hook").clone())
}

/// Doctor asks the kernel, not the agent: that may hang.
#[test]
fn doctor_shows_a_detached_hook_of_an_agent_that_hangs() {
    in_world(|world| {
        let (_peer, agent) = veth_world(world, &config());
        await_hooked(&agent, &["gp0"]);
        assert_eq!(doctor(world).1["state"], "attached");
        agent.signal(rustix::process::Signal::STOP);
        links("ingress").iter().for_each(|pin| detach_link(pin).expect("detached"));
        let (code, hook) = doctor(world);
        agent.signal(rustix::process::Signal::CONT);
        assert_eq!(hook["state"], "unserved", "{hook}");
        assert!(hook["passed_over"][0]["why"].to_string().contains("detached"), "{hook}");
        assert_eq!(code, Some(1));
        eventually("a hook that is attached again", || {
            (doctor(world).1["state"] == "attached").then_some(())
        });
    });
}

/// A program that does not run while packets pass its interface.
#[test]
fn doctor_shows_a_hook_that_does_not_run() {
    in_world(|world| {
        let agent = Agent::start(world, &config().on(&["lo"]));
        let runs = || doctors_fact(world, "runs");
        let fact = runs();
        assert_eq!(fact["ok"], true, "{fact}");
        assert_eq!(fact["value"], "6 of 6 hooks ran in 200 ms");
        agent.signal(rustix::process::Signal::STOP);
        links("ingress").iter().for_each(|pin| detach_link(pin).expect("detached"));
        let fact = runs();
        agent.signal(rustix::process::Signal::CONT);
        assert_eq!(fact["ok"], false, "{fact}");
        assert!(fact["costs"].to_string().contains("ingress of lo beside"), "{fact}");
    });
}
