//! The agent as Prometheus and Alertmanager know it.

use std::net::{Ipv4Addr, TcpListener};

use serde_json::Value;
use testkit::{
    agent::{Agent, finish, ghostport, json},
    eventually,
    world::port,
};

/// Its address, which is also its name.
pub(super) const TARGET: &str = "127.0.0.1:10948";

/// A sink that raises alerts under that name.
pub(super) fn alerts_of_target() -> String {
    format!(
        "{{kind: alertmanager, url: \"http://127.0.0.1:9093\", labels: {{instance: \"{TARGET}\"}}}}"
    )
}

/// What an agent of these tests watches beside its ports.
pub(super) const LISTENERS: &str = "{watch: all, learn: 1s}";

/// Listens on a port that is not watched, once the agent has its baseline, which does not have it.
pub(super) fn strange_listener(agent: &Agent) -> TcpListener {
    eventually("the end of learning", || {
        let output = finish(ghostport().args(["check", "--all", "--json"]));
        let document: Value = json(&output);
        (document["learning"] == false).then_some(())
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port(9))).expect("bound");
    eventually("an unexpected listener", || {
        let since = "ghostport_listener_unexpected_timestamp_seconds";
        (agent.metrics().sum(since, &[]) > 0).then_some(())
    });
    listener
}
