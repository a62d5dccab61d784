//! The states of a port as sockets and packets come and go.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    process::{self, Command},
    time::Duration,
};

use ghostport::{
    api::{
        event::Events,
        port::{ByProtocol, Ports},
        socket::Socket,
    },
    sockets::TcpState,
};
use monitor_common::flow::Side;
use monitor_ledger::PortState;
use serde_json::{Value, value::RawValue};
use testkit::{
    agent::{Agent, Config, finish, ghostport, json, stderr, stdout},
    eventually, eventually_within, patience,
    world::{HERE, THERE, World, in_world},
};

use super::support::{
    ask, assert_state, awakenings, config, first_holder, newest, probe, watched, watched_port,
};

#[test]
fn a_port_awakens_serves_and_becomes_dormant_again() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &config());
        assert_state(&agent, "quiet", true);

        probe(&peer);
        let view = assert_state(&agent, "probed", false);
        assert_eq!(awakenings(&agent, "packet"), 1);
        assert!(view.last_packet.is_some() && view.last_bind.is_none(), "{view:?}");
        let awakened = newest(&agent, "awakened");
        assert_eq!(awakened["ghostport.reason"], "tcp packet to the port");
        assert_eq!(awakened["network.peer.address"], THERE.to_string(), "{awakened}");
        assert!(awakened["ghostport.dormant_for_seconds"].as_f64().expect("seconds") < 60.0);

        // No address of this host.
        let refused = UdpSocket::bind((Ipv4Addr::new(203, 0, 113, 1), watched()));
        assert!(refused.is_err());
        assert_state(&agent, "attempted", false);
        let refused = newest(&agent, "bind_failed");
        assert_eq!(refused["ghostport.expected"], false, "{refused}");

        let listener = TcpListener::bind((HERE, watched())).expect("bound");
        let view = assert_state(&agent, "bound", false);
        assert_eq!(
            view.bound_sockets,
            Some(ByProtocol { tcp: 1, ..ByProtocol::default() }),
            "{view:?}"
        );
        assert_tells_owner(&newest(&agent, "unexpected_owner"));
        let check = finish(ghostport().args(["check", &watched().to_string(), "--json"]));
        assert_eq!(check.status.code(), Some(1), "{}", stderr(&check));
        let Ports { ports } = json(&check);
        assert_eq!(ports[0].state, Some(PortState::Bound), "{ports:?}");
        assert_eq!(first_holder(&ports[0].sockets[0]), process::id());

        let client = peer.start(|| {
            let mut client = TcpStream::connect((HERE, watched())).expect("connected");
            let mut answer = [0; 2];
            client.read_exact(&mut answer).expect("an answer");
        });
        let (mut connection, _) = listener.accept().expect("accepted");
        connection.write_all(b"hi").expect("answered");
        client.recv().expect("the client");
        assert_state(&agent, "served", false);

        // Killed while the port is held: the next one knows all of it.
        agent.kill9();
        let agent = Agent::start(world, &config());
        let view = assert_state(&agent, "served", false);
        assert_eq!(view.awakenings.map(|by| by.packet), Some(1), "{view:?}");
        assert_eq!(awakenings(&agent, "bind"), 0, "the port was awake: {view:?}");

        drop((connection, listener));
        let dormant = eventually_within(patience() * 2, "dormancy", || {
            agent.events().into_iter().rfind(|event| event["event.name"] == "ghostport.dormant")
        });
        assert_eq!(dormant["network.local.port"], watched());

        // And is awakened once more, by a bind, with who did it.
        drop(UdpSocket::bind((Ipv4Addr::LOCALHOST, watched())).expect("bound"));
        eventually("the awakening", || (awakenings(&agent, "bind") == 1).then_some(()));
        let awakened = eventually("its event", || {
            Some(newest(&agent, "awakened")).filter(|event| event["ghostport.reason"] == "udp bind")
        });
        assert_eq!(awakened["process.pid"], process::id(), "{awakened}");
        assert_is_stored(world, &agent);
    });
}

/// Who is blamed for a bind is this test.
#[track_caller]
fn assert_tells_owner(event: &Value) {
    let executable = std::env::current_exe().expect("a path");
    assert_eq!(event["process.pid"], process::id(), "{event}");
    assert_eq!(event["process.executable.path"], *executable.to_string_lossy(), "{event}");
    assert_eq!(event["process.user.name"], "root", "{event}");
    assert_eq!(event["ghostport.expected"], false, "{event}");
    assert!(event["process.command_args"].is_array(), "{event}");
    assert!(event["process.linux.cgroup"].is_string(), "{event}");
    let ancestors = event["ghostport.ancestors"].as_array().expect("ancestors");
    assert_eq!(ancestors[0]["pid"], event["process.parent_pid"], "{event}");
}

/// `events` and the API return exactly what the sink received.
#[track_caller]
fn assert_is_stored(world: &World, agent: &Agent) {
    let config = config().write(world);
    let stored = eventually("the last event in the store", || {
        let output = finish(ghostport().args(["events", "--json", "--config"]).arg(&config));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let text = stdout(&output);
        let stored: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        (stored == agent.events()).then_some(stored)
    });
    let answer: Events = ask("/api/v1/events");
    let read = |event: &RawValue| serde_json::from_str(event.get()).expect("JSON");
    let answered = answer.events.iter().map(|event| read(event));
    assert_eq!(answered.collect::<Vec<Value>>(), stored);
}

#[test]
fn an_expected_program_is_not_unexpected() {
    in_world(|world| {
        let executable = std::env::current_exe().expect("a path");
        let keys = format!("expect: [{{exe: {}, user: root}}]", executable.display());
        let agent = Agent::start(world, &Config::new([watched()]).with_port_keys(&keys));
        drop(UdpSocket::bind((Ipv4Addr::LOCALHOST, watched())).expect("bound"));
        assert_eq!(newest(&agent, "bind")["ghostport.expected"], true);
        drop(TcpListener::bind((Ipv4Addr::LOCALHOST, watched())).expect("bound"));
        for kind in ["listen", "close"] {
            let event = newest(&agent, kind);
            assert_eq!(event["ghostport.expected"], true, "{event}");
        }
        let port = watched().to_string();
        let unexpected =
            || agent.metrics().sum("ghostport_unexpected_binds_total", &[("port", &port)]);
        assert_eq!(unexpected(), 0);

        // Another program is unexpected, until a reload changes the list of expected ones.
        let other = config().with_port_keys("expect: [{exe: /usr/bin/true}]");
        other.write(world);
        assert!(agent.reload(), "{}", agent.log());
        drop(UdpSocket::bind((Ipv4Addr::LOCALHOST, watched())).expect("bound"));
        assert_eq!(newest(&agent, "unexpected_owner")["process.pid"], process::id());
        eventually("the count", || (unexpected() == 1).then_some(()));
    });
}

/// Sockets that were open before the agent came are found, and awaken their port.
#[test]
fn finds_an_open_socket_at_start() {
    in_world(|world| {
        let holder = UdpSocket::bind((Ipv4Addr::LOCALHOST, watched())).expect("bound");
        let agent = Agent::start(world, &config());
        let view = assert_state(&agent, "bound", false);
        assert_eq!(
            view.bound_sockets,
            Some(ByProtocol { udp: 1, ..ByProtocol::default() }),
            "{view:?}"
        );
        assert_eq!(first_holder(&view.sockets[0]), process::id(), "{view:?}");
        assert!(
            newest(&agent, "awakened")["ghostport.reason"]
                == "udp socket that was found open, bound unseen"
        );
        drop(holder);
        eventually("its close", || {
            watched_port().bound_sockets.is_some_and(|bound| bound.udp == 0).then_some(())
        });
    });
}

/// Who held the port before the agent came is judged like one who binds it, once.
#[test]
fn a_found_holder_can_be_unexpected() {
    in_world(|world| {
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, watched())).expect("bound");
        let agent = Agent::start(world, &config());
        let port = watched().to_string();
        let unexpected = |agent: &Agent| {
            agent.metrics().sum("ghostport_unexpected_binds_total", &[("port", &port)])
        };
        let event = newest(&agent, "unexpected_owner");
        assert_tells_owner(&event);
        assert_eq!(event["ghostport.reason"], "it was found open, bound unseen", "{event}");
        assert_eq!(event["network.local.address"], "127.0.0.1", "{event}");
        eventually("the count", || (unexpected(&agent) == 1).then_some(()));
        agent.terminate();

        let agent = Agent::start(world, &config());
        assert_state(&agent, "bound", false);
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(unexpected(&agent), 1, "it is known");
        agent.terminate();

        let executable = std::env::current_exe().expect("a path");
        let keys = format!("expect: [{{exe: {}}}]", executable.display());
        fs::remove_file(world.path("ghostport.db")).expect("a store");
        let agent = Agent::start(world, &config().with_port_keys(&keys));
        assert_state(&agent, "bound", false);
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(unexpected(&agent), 0, "{}", agent.log());
    });
}

/// An expected owner may pass its socket on.
#[test]
fn a_program_that_inherits_a_socket_is_judged() {
    in_world(|world| {
        let executable = std::env::current_exe().expect("a path");
        let keys = format!("expect: [{{exe: {}}}]", executable.display());
        let agent = Agent::start(world, &config().with_port_keys(&keys));
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, watched())).expect("bound");
        assert_eq!(newest(&agent, "bind")["ghostport.expected"], true);
        let port = watched().to_string();
        let unexpected =
            |agent: &Agent| agent.metrics().sum("ghostport_unexpected_sockets", &[("port", &port)]);
        let stdin = OwnedFd::from(socket.try_clone().expect("a copy"));
        let mut heir = Command::new("cat").stdin(stdin).spawn().expect("spawned");
        let limit = Duration::from_secs(60);
        let event = eventually_within(limit, "the event of the heir", || {
            let events = agent.events().into_iter();
            events.rev().find(|event| event["event.name"] == "ghostport.unexpected_owner")
        });
        assert_eq!(event["process.pid"], heir.id(), "{event}");
        assert_eq!(event["ghostport.reason"], "it holds a socket that was bound before", "{event}");
        assert_eq!(event["network.local.port"], watched(), "{event}");
        assert_eq!(unexpected(&agent), 1);
        assert_eq!(watched_port().sockets[0].expected, Some(false));
        heir.kill().expect("killed");
        heir.wait().expect("waited");
        eventually_within(limit, "an expected owner alone", || {
            (unexpected(&agent) == 0).then_some(())
        });
        assert_eq!(agent.count_events("unexpected_owner"), 1);
    });
}

/// A server may close its listener when it has its client. The connection holds the port, and no
/// event reports that.
#[test]
fn tracks_connections_of_a_closed_listener() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, watched())).expect("bound");
        let mut client =
            TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
        let (connection, _) = listener.accept().expect("accepted");
        drop(listener);
        let view = eventually("a connection that serves", || {
            client.write_all(b"?").expect("asked");
            let view = watched_port();
            let is_held = view.bound_sockets.is_some_and(|bound| bound.tcp == 1);
            (view.state == Some(PortState::Served) && is_held).then_some(view)
        });
        let is_local = |socket: &&Socket| socket.side == Side::Local;
        let held = view.sockets.iter().find(is_local).expect("the port's end");
        assert_eq!(held.tcp_state, Some(TcpState::Established), "{view:?}");
        assert_eq!(first_holder(held), process::id(), "{view:?}");
        drop((client, connection));
        assert_eq!(agent.metrics().sum("ghostport_events_lost_total", &[]), 0);
    });
}
