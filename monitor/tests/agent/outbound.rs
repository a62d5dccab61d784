//! The process that sent to a watched port of another host is named after its end.

use std::process::{Command, Stdio};

use ghostport::api::port::{Port, Ports};
use monitor_ledger::PortState;
use serde_json::Value;
use testkit::{
    agent::{Agent, Config, finish, ghostport, json, stdout},
    eventually,
    world::{THERE, World, in_world, port},
};

fn watched() -> u16 {
    port(0)
}

fn config() -> Config {
    Config::new([watched()]).on(&["gp0"]).with_port_keys("dormant_after: 1s")
}

/// An agent whose hook is attached, for a port that is dormant. `None` where no mechanism serves it.
fn agent(world: &World) -> Option<Agent> {
    let agent = Agent::start_hooked(world, &config(), "connect")?;
    eventually("a port that is dormant", || (seen(&agent).dormant == Some(true)).then_some(()));
    Some(agent)
}

fn seen(agent: &Agent) -> Port {
    agent.ask(&format!("/api/v1/ports/{}", watched()))
}

/// A program that sends one datagram and ends. Returns its process id.
fn send_and_end() -> u32 {
    let script = format!("echo --password hidden > /dev/udp/{THERE}/{}", watched());
    let mut sender = Command::new("bash")
        .args(["-c", &script, "sender", "--password", "hidden"])
        .stdin(Stdio::null())
        .spawn()
        .expect("a sender");
    let pid = sender.id();
    assert!(sender.wait().expect("its end").success());
    pid
}

fn event(agent: &Agent, kind: &str) -> Value {
    let name = format!("ghostport.{kind}");
    eventually(kind, || agent.events().into_iter().find(|event| event["event.name"] == name))
}

/// What `check` says of the port, as a page and as a document, and its exit code.
fn check() -> (String, Ports, Option<i32>) {
    let port = watched().to_string();
    let page = finish(ghostport().args(["check", &port]));
    let document = finish(ghostport().args(["check", "--json", &port]));
    assert_eq!(page.status, document.status);
    (stdout(&page), json(&document), page.status.code())
}

#[test]
fn a_sender_that_has_ended_is_named() {
    in_world(|world| {
        // Nothing is bound there: hooks see the peer's namespace, too.
        let _peer = world.peer();
        let Some(agent) = agent(world) else { return };
        let port = watched();
        let pid = send_and_end();

        let connect = event(&agent, "connect");
        assert_eq!(connect["process.pid"], pid);
        assert_eq!(connect["network.peer.address"], THERE.to_string());
        let arguments = connect["process.command_args"].to_string();
        assert!(!arguments.contains("hidden"), "a secret is shown: {arguments}");
        let awakened = event(&agent, "awakened");
        assert_eq!(awakened["process.pid"], pid, "{awakened}");
        assert_eq!(awakened["ghostport.port"], watched());
        assert_eq!(awakened["ghostport.severity"], "info");

        let state = eventually("a port that is outbound", || {
            Some(seen(&agent)).filter(|port| port.state == Some(PortState::Outbound))
        });
        let sender = state.last_sender.expect("a sender");
        let process = sender.process.clone().expect("a process");
        assert_eq!((process.pid, process.name.as_deref()), (pid, Some("bash")));
        assert_eq!(sender.peer_address, Some(THERE.into()));

        let (page, document, _) = check();
        let ports: Vec<_> = document.ports.iter().map(|port| &port.last_sender).collect();
        assert_eq!(ports, [&Some(sender.clone())]);
        let told = format!("last sent over udp to {THERE}:{port}, at ");
        assert!(page.contains(&told) && page.contains(&format!("{pid} bash, user root")), "{page}");

        // Another agent reads it in the store.
        assert_eq!(agent.terminate().code(), Some(0));
        let agent = Agent::start(world, &config());
        let known = seen(&agent).last_sender.expect("a sender");
        assert_eq!(known, sender);
    });
}
