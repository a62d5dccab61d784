//! `ghostport selftest`, of the running agent and without one.

use std::{
    fs::rename,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::{net::UnixStream, process::CommandExt as _},
    process::Output,
};

use ghostport::api::{SOCKET, selftest::Assignment};
use serde_json::Value;
use testkit::{
    agent::{Agent, Config, LISTEN, finish, ghostport, stderr, stdout},
    eventually,
    privileges::{Privileges, SOMEBODY},
    world::{World, in_world, port},
};

const SUCCESS: &str = "ghostport_selftest_success";
const TIMESTAMP: &str = "ghostport_selftest_timestamp_seconds";

fn config() -> Config {
    Config::new([port(0)]).on(&["lo"])
}

fn selftest() -> Output {
    finish(ghostport().arg("selftest"))
}

#[track_caller]
fn assert_passes() -> String {
    let output = selftest();
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

#[track_caller]
fn assert_fails(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(output), stderr(output));
    assert_eq!(stdout(output), "");
    stderr(output)
}

/// The only event of a selftest.
#[track_caller]
fn only_event(agent: &Agent) -> Value {
    // A sink writes it after the selftest has its answer.
    eventually("the event", || (agent.count_events("selftest") > 0).then_some(()));
    let events = agent.events();
    let is_of_a_port = |event: &&Value| {
        let name = event["event.name"].as_str().expect("a name");
        !["ghostport.agent_started", "ghostport.hook_changed"].contains(&name)
    };
    let events: Vec<&Value> = events.iter().filter(is_of_a_port).collect();
    let [event] = *events else { panic!("one event: {events:#?}") };
    assert_eq!(event["event.name"], "ghostport.selftest", "{event}");
    event.clone()
}

#[test]
fn a_selftest_of_the_agent_is_seen_and_changes_nothing() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        assert!(!agent.metrics().has(SUCCESS, &[]), "none has run");
        assert!(!agent.metrics().has(TIMESTAMP, &[]), "none has run");
        let before = agent.metrics();
        let said = assert_passes();
        for line in ["a bind", "a listener", "a packet sent", "a packet received", "its event"] {
            assert!(said.contains(line), "{line} in {said}");
        }
        assert_passes();
        let after = agent.metrics();
        assert_eq!(after.traffic(), before.traffic(), "packets");
        assert_eq!(after.sockets(&[port(0)]), before.sockets(&[port(0)]), "calls");
        let on_port = |more| [("port", port(0).to_string()), more];
        let value = |name: &str, label: (&'static str, &str)| {
            let [(port, number), (key, value)] = on_port((label.0, label.1.to_owned()));
            after.value(name, &[(port, &number), (key, &value)])
        };
        assert_eq!(value("ghostport_port_state", ("state", "quiet")), 1.0);
        let awakenings = [("port", &*port(0).to_string())];
        assert_eq!(after.sum("ghostport_awakenings_total", &awakenings), 0);
        assert_eq!(value("ghostport_bound_sockets", ("protocol", "udp")), 0.0);
        assert_eq!(after.sum("ghostport_dormant", &[("port", &port(0).to_string())]), 1);
        assert_eq!(after.value(SUCCESS, &[]), 1.0);
        assert!(after.value(TIMESTAMP, &[]) > 1.7e9);
    });
}

#[test]
fn a_selftest_is_one_event_with_its_process() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        assert_passes();
        let event = only_event(&agent);
        assert_eq!(event["ghostport.result"], "success", "{event}");
        assert_eq!(event["ghostport.severity"], "info", "{event}");
        let watched = [port(0), port(99)].map(Value::from);
        assert!(watched.contains(&event["network.local.port"]), "{event}");
        assert_eq!(event["process.executable.name"], "ghostport", "{event}");
        assert_eq!(event["process.command_args"][1], "selftest", "{event}");
    });
}

#[test]
fn every_mechanism_sees_a_selftest() {
    in_world(|world| {
        let mut seen = Vec::new();
        for mechanism in ["fexit", "kprobe", "cgroup", "tracepoint"] {
            let agent = Agent::start(world, &config().mechanism(mechanism));
            if agent.metrics().mechanism("bind", None).is_some() {
                let said = assert_passes();
                assert!(said.contains(&format!("seen by {mechanism}")), "{said}");
                seen.push(mechanism);
            }
            assert_eq!(agent.terminate().code(), Some(0));
        }
        assert!(seen.len() >= 2, "{seen:?}");
    });
}

#[test]
fn a_selftest_names_the_hook_that_failed() {
    in_world(|world| {
        world.without_cgroup2();
        let agent = Agent::start(world, &config().mechanism("cgroup"));
        assert_eq!(agent.metrics().mechanism("bind", None), None, "{}", agent.log());
        let said = assert_fails(&selftest());
        assert!(said.contains("not seen: bind, which is not attached"), "{said}");
        assert_eq!(agent.metrics().value(SUCCESS, &[]), 0.0);
        let event = only_event(&agent);
        assert_eq!(event["ghostport.result"], "error", "{event}");
        assert_eq!(event["ghostport.severity"], "warning", "{event}");
    });
}

/// The request, over the socket; its answer.
fn post(path: &str) -> String {
    let mut stream = UnixStream::connect(SOCKET).expect("connected");
    let request = format!("POST {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn begin() -> Assignment {
    let answer = post("/api/v1/selftest");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

#[test]
fn only_the_assigned_address_has_the_mark() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        let Assignment { address, port, .. } = begin();
        assert!(address.is_loopback(), "{address}");
        assert!(post("/api/v1/selftest").contains(" 503 "), "one at a time");
        drop(TcpListener::bind((address, port)).expect("bound"));
        drop(UdpSocket::bind(("127.0.0.1", port)).expect("bound"));
        assert!(post("/api/v1/selftest/result?sent=false").contains("\"success\":true"));
        // The mark has ended.
        drop(UdpSocket::bind((address, port)).expect("bound"));
        let addresses = || -> Vec<String> {
            let is_bind = |event: &Value| {
                event["event.name"] == "ghostport.bind" && event["network.local.port"] == port
            };
            let binds = agent.events().into_iter().filter(is_bind);
            let address = |bind: Value| bind["network.local.address"].as_str().map(str::to_owned);
            binds.filter_map(address).collect()
        };
        eventually("both binds", || (addresses().len() >= 2).then_some(()));
        assert_eq!(addresses(), ["127.0.0.1", &*address.to_string()]);
        assert!(post("/api/v1/selftest/result?sent=false").contains(" 404 "));
    });
}

#[test]
fn only_clients_of_the_socket_may_have_calls_left_out() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        assert_eq!(agent.get("/api/v1/selftest").status, 405);
        let mut stream = TcpStream::connect(("127.0.0.1", LISTEN)).expect("connected");
        let request = "POST /api/v1/selftest HTTP/1.1\r\nHost: localhost\r\n\
                       Connection: close\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.contains(" 403 "), "{answer}");
        let mut other = Privileges::none(SOMEBODY).ghostport(world, &["selftest"]);
        let said = assert_fails(&finish(&mut other));
        assert!(said.contains("you may not ask the agent"), "{said}");
    });
}

#[test]
fn without_an_agent_a_selftest_tries_what_one_would_use() {
    in_world(|world: &World| {
        // An agent that the command cannot ask, as one of a container.
        let agent = Agent::start(world, &config());
        rename("/run/ghostport/api.sock", "/run/ghostport/hidden").expect("hidden");
        let said = assert_passes();
        assert!(said.contains("of a private network namespace"), "{said}");
        assert_eq!(agent.socket_events(), Vec::<Value>::new(), "no port of its is bound");
        let mut events = agent.events();
        events.retain(|event| event["network.local.port"] == port(0));
        assert_eq!(events, Vec::<Value>::new(), "none awakens");
        agent.terminate();
        for line in ["a bind", "a packet received", "a packet sent"] {
            let line = said.lines().find(|said| said.trim_start().starts_with(line));
            assert!(line.is_some_and(|line| !line.ends_with("nothing")), "{said}");
        }
        let said = assert_fails(&finish(ghostport().arg("selftest").uid(65534)));
        assert!(said.contains("CAP_SYS_ADMIN"), "{said}");
    });
}
