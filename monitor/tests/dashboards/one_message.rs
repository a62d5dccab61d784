//! One bind is one message, with the process in it, where Prometheus and the agent both raise alerts.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use serde_json::Value;
use testkit::{
    agent::{Agent, Config},
    alertmanager::{Alertmanager, Notification, Webhook},
    eventually, patience,
    prometheus::Prometheus,
    world::{Peer, in_world, port},
};

use super::support::{TARGET, alerts_of_target};

/// An agent that raises alerts itself, under the name by which Prometheus knows it.
fn config(ports: impl IntoIterator<Item = u16>) -> Config {
    Config::new(ports).on(&["lo"]).with_sinks([alerts_of_target()])
}

fn listen(port: u16) -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("bound")
}

/// A bind that is refused although nothing holds the port: the socket has an address already.
fn bind_in_vain(port: u16) {
    let bound = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    assert!(rustix::net::bind(&bound, &address).is_err());
}

/// A client comes and is answered.
fn visit(listener: &TcpListener) {
    let address = listener.local_addr().expect("an address");
    let mut client = TcpStream::connect(address).expect("connected");
    let (mut connection, _) = listener.accept().expect("accepted");
    client.write_all(b"hello").expect("asked");
    connection.write_all(b"hi").expect("answered");
    client.read_exact(&mut [0; 2]).expect("an answer");
}

/// Names of the alerts that fire in Prometheus.
fn firing(prometheus: &Prometheus) -> Vec<String> {
    let alerts = prometheus.query(r#"ALERTS{alertstate="firing"}"#);
    let name = |alert: &Value| alert["metric"]["alertname"].as_str().expect("a name").to_owned();
    alerts.iter().map(name).collect()
}

/// Port, status, and the alerts of a message, each with the process that is to blame.
fn told(notification: &Notification) -> (String, String, Vec<(String, String)>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let alerts = notification.body["alerts"].as_array().expect("alerts");
    let alert = |alert: &Value| {
        (text(&alert["labels"]["alertname"]), text(&alert["annotations"]["process_pid"]))
    };
    (
        text(&notification.body["groupLabels"]["port"]),
        text(&notification.body["status"]),
        alerts.iter().map(alert).collect(),
    )
}

#[test]
fn notifies_of_a_bind_once_when_both_raise_alerts() {
    in_world(|world| {
        let prometheus = Prometheus::start(world);
        let alertmanager = Alertmanager::start_quick(world);
        let webhook = Webhook::start();
        let _agent = Agent::start(world, &config([port(0)]));
        prometheus.scrape(&[TARGET]);
        eventually("the first scrape", || {
            let series = format!(r#"ghostport_awakenings_total{{port="{}"}} == 0"#, port(0));
            (!prometheus.query(&series).is_empty()).then_some(())
        });

        let peer = Peer::alone();
        peer.run(|| {
            let listener = listen(port(0));
            assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port(0))).is_err());
            // Kept open until this namespace ends.
            std::mem::forget(listener);
        });
        let first = webhook.next(patience());
        let name = "GhostportBindOnDormantPort".to_owned();
        let pid = std::process::id().to_string();
        let expected = (port(0).to_string(), "firing".to_owned(), vec![(name, pid)]);
        assert_eq!(told(&first), expected, "{}", first.body);
        assert_eq!(first.path, "/on-call");
        let annotations = &first.body["alerts"][0]["annotations"];
        for fact in ["process_executable_path", "process_user", "process_parent", "certainty"] {
            assert!(annotations[fact].is_string(), "{fact}: {annotations}");
        }

        // Prometheus notices the same bind in three ways, and none of them makes a message.
        let expected =
            ["GhostportBindOnDormantPort", "GhostportBindRefused", "GhostportUnexpectedOwner"];
        eventually("alerts of Prometheus", || {
            let firing = firing(&prometheus);
            expected.iter().all(|name| firing.iter().any(|firing| firing == name)).then_some(())
        });
        eventually("inhibited alerts", || {
            let alerts = alertmanager.alerts();
            let of_prometheus = alerts.iter().filter(|alert| {
                alert["labels"]["reporter"].is_null()
                    && expected.iter().any(|name| alert["labels"]["alertname"] == *name)
            });
            let inhibited = of_prometheus.clone().filter(|alert| {
                alert["status"]["inhibitedBy"].as_array().is_some_and(|by| !by.is_empty())
            });
            let count = inhibited.count();
            (count == expected.len() && of_prometheus.count() == count).then_some(())
        });
        let others = webhook.within(Duration::from_secs(6));
        assert!(others.is_empty(), "{others:?}");
    });
}

/// What happens on each port in [`tells_each_story_of_an_hour_once`], in minutes from its start. Other
/// tests, of which hooks see everything, have other ports.
const STORIES: [(u16, u64, u64); 4] = [(7311, 1, 16), (7312, 3, 3), (7313, 1, 1), (7314, 20, 35)];

/// When the agent is started again, and how long the test looks.
const RESTART: Duration = Duration::from_secs(24 * 60);
const END: Duration = Duration::from_secs(56 * 60);

/// With every interval as operators get it: a service that is visited for a quarter of an hour, a
/// bind of a moment, one that is refused, and one that outlives the agent. Each is one message when
/// it begins and one when it is over.
#[test]
#[ignore = "an hour: cargo test -p monitor --test dashboards one_message -- --ignored"]
fn tells_each_story_of_an_hour_once() {
    in_world(|world| {
        let prometheus = Prometheus::start_as_shipped(world);
        let _alertmanager = Alertmanager::start(world);
        let webhook = Webhook::start();
        let mut agent = Agent::start(world, &config(STORIES.map(|story| story.0)));
        prometheus.scrape(&[TARGET]);
        let start = Instant::now();
        let [served, passing, refused, outliving] = STORIES;
        let at = |minutes| start + Duration::from_secs(minutes * 60);
        let mut notifications = Vec::new();
        let mut listener = None;
        let mut outlives = None;
        let (mut has_passed, mut was_refused, mut restarts) = (false, false, 0);
        while start.elapsed() < END {
            let now = Instant::now();
            let is_on = |(_, from, to): (u16, u64, u64)| now >= at(from) && now < at(to);
            if is_on(served) {
                visit(listener.get_or_insert_with(|| listen(served.0)));
            } else {
                listener = None;
            }
            if is_on(outliving) {
                outlives.get_or_insert_with(|| listen(outliving.0));
            } else {
                outlives = None;
            }
            if now >= at(passing.1) && !has_passed {
                has_passed = true;
                drop(UdpSocket::bind((Ipv4Addr::LOCALHOST, passing.0)).expect("bound"));
            }
            if now >= at(refused.1) && !was_refused {
                was_refused = true;
                bind_in_vain(refused.0);
            }
            if start.elapsed() >= RESTART && restarts == 0 {
                restarts += 1;
                assert!(agent.terminate().success());
                agent = Agent::start(world, &config(STORIES.map(|story| story.0)));
            }
            let new = webhook.within(Duration::from_secs(15));
            for notification in &new {
                let minutes = start.elapsed().as_secs_f64() / 60.0;
                println!("{minutes:5.1} min {} {:?}", notification.path, told(notification));
            }
            notifications.extend(new);
        }
        for (port, ..) in STORIES {
            let messages: Vec<_> =
                notifications.iter().map(told).filter(|told| told.0 == port.to_string()).collect();
            let states: Vec<&str> = messages.iter().map(|message| message.1.as_str()).collect();
            assert_eq!(states, ["firing", "resolved"], "port {port}: {messages:?}");
            let pid = std::process::id().to_string();
            let alert = ("GhostportBindOnDormantPort".to_owned(), pid);
            for (.., alerts) in &messages {
                assert_eq!(*alerts, std::slice::from_ref(&alert), "port {port}");
            }
        }
        let is_of_agent = |told: &(String, String, Vec<(String, String)>)| told.0.is_empty();
        let others: Vec<_> = notifications.iter().map(told).filter(is_of_agent).collect();
        assert!(others.is_empty(), "nothing is wrong with the agent: {others:?}");
    });
}
