//! rsyslog takes events over each of its inputs.

use serde_json::Value;
use testkit::{
    agent::{Agent, Config, ghostport},
    eventually,
    rsyslog::{INPUTS, Rsyslog},
    world::{World, in_world, port},
};

use super::support::{bind, count, lost};

/// The events that came by an input, in their order; checks that the heads of messages fit them.
fn received(world: &World, input: &str) -> Vec<Value> {
    let lines = Rsyslog::lines(world);
    let its = lines.iter().filter_map(|line| line.strip_prefix(input)?.strip_prefix(' '));
    its.map(|line| {
        let (head, json) = line.split_at(line.find('{').expect("an object"));
        let event: Value = serde_json::from_str(json).expect("one JSON object");
        let words: Vec<&str> = head.split(' ').collect();
        let [priority, time, host, name, _, kind, ..] = words[..] else { panic!("{head}") };
        let severity = match event["ghostport.severity"].as_str() {
            Some("critical") => "daemon.crit",
            Some("warning") => "daemon.warning",
            _ => "daemon.info",
        };
        assert_eq!(priority, severity, "{line}");
        assert_eq!((host, name), (event["host.name"].as_str().expect("a host"), "ghostport"));
        assert_eq!(event["event.name"], format!("ghostport.{kind}"));
        let its_time = event["time"].as_str().expect("a time");
        assert_eq!(time[..26], its_time[..26], "to the microsecond");
        event
    })
    .collect()
}

#[test]
fn rsyslog_gets_every_event_over_each_transport() {
    in_world(|world| {
        Rsyslog::prepare(world);
        let rsyslog = Rsyslog::start(world);
        let sinks = Rsyslog::addresses(world)
            .map(|address| format!("{{kind: syslog, address: \"{address}\"}}"));
        let config = Config::new([port(0), port(1)]).with_sinks(sinks);
        let mut command = ghostport();
        command.arg("run").env("SSL_CERT_FILE", world.path("ca.crt"));
        let agent = Agent::launch(world, &config, command);
        bind(0);
        eventually("the events of a bind", || {
            let events = agent.events();
            let kinds = ["close", "unexpected_owner", "executable"];
            kinds.iter().all(|kind| count(&events, kind, 0) == 1).then_some(())
        });
        for input in INPUTS {
            eventually(input, || (received(world, input) == agent.events()).then_some(()));
        }

        // A server that is away for a moment; what is sent by UDP meanwhile is lost unseen.
        rsyslog.stop();
        bind(1);
        eventually("events meanwhile", || (count(&agent.events(), "close", 1) == 1).then_some(()));
        let _rsyslog = Rsyslog::start(world);
        for input in INPUTS.into_iter().filter(|input| *input != "imudp") {
            eventually(input, || (received(world, input) == agent.events()).then_some(()));
        }
        assert_eq!(lost(&agent), 0.0);
    });
}
