//! A watched port and its agent.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    time::Duration,
};

use ghostport::api::{port::Port, socket::Socket};
use monitor_ledger::PortState;
use serde::de::DeserializeOwned;
use serde_json::Value;
use testkit::{
    agent::{Agent, Config},
    eventually,
    world::{HERE, Peer, port},
};

pub(super) fn watched() -> u16 {
    port(0)
}

pub(super) fn config() -> Config {
    Config::new([watched()]).on(&["lo", "gp0"]).with_port_keys("dormant_after: 3s")
}

/// The agent's answer over its Unix socket.
pub(super) fn ask<T: DeserializeOwned>(path: &str) -> T {
    let mut stream = UnixStream::connect("/run/ghostport/api.sock").expect("the agent's socket");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")
        .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(body).expect("JSON")
}

/// The watched port, as the agent describes it.
pub(super) fn watched_port() -> Port {
    ask(&format!("/api/v1/ports/{}", watched()))
}

/// Process id of the first process that holds a socket.
pub(super) fn first_holder(socket: &Socket) -> u32 {
    socket.holders.as_ref().expect("holders").first().expect("a holder").pid
}

/// Waits until the port is in this state, by the API and by the metrics.
#[track_caller]
pub(super) fn assert_state(agent: &Agent, state: &str, dormant: bool) -> Port {
    let view = eventually(&format!("{state}, dormant {dormant}"), || {
        let view = watched_port();
        let found = (view.state.map(PortState::name), view.dormant);
        (found == (Some(state), Some(dormant))).then_some(view)
    });
    let metrics = agent.metrics();
    let port = watched().to_string();
    let port = ("port", port.as_str());
    assert_eq!(metrics.value("ghostport_port_state", &[port, ("state", state)]), 1.0);
    assert_eq!(metrics.value("ghostport_dormant", &[port]), f64::from(u8::from(dormant)));
    view
}

pub(super) fn awakenings(agent: &Agent, cause: &str) -> u64 {
    let port = watched().to_string();
    agent.metrics().sum("ghostport_awakenings_total", &[("port", &port), ("cause", cause)])
}

/// The newest event of this kind about the watched port.
pub(super) fn newest(agent: &Agent, kind: &str) -> Value {
    eventually(kind, || {
        agent.events().into_iter().rfind(|event| {
            event["event.name"] == format!("ghostport.{kind}")
                && event["network.local.port"] == watched()
        })
    })
}

pub(super) fn probe(peer: &Peer) {
    peer.run(|| {
        let address = SocketAddr::from((HERE, watched()));
        // Nothing listens there, so the kernel answers with a reset, as it would a scanner.
        let refused = TcpStream::connect_timeout(&address, Duration::from_secs(5));
        assert!(refused.is_err());
    });
}
