//! A real Alertmanager.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use serde_json::Value;
use testkit::{
    agent::{Agent, Config, finish, ghostport, json},
    eventually, http,
    receiver::Receiver,
    world::{World, in_world, port},
};

use super::support::{Daemon, TIMED, assert_is_soon, bind, count, fine, lost, median_delay};

const ALERTMANAGER: &str = "/usr/bin/prometheus-alertmanager";

/// An Alertmanager that notifies `receiver` of every alert at once.
fn alertmanager(world: &World, receiver: &Receiver) -> Daemon {
    let config = world.path("alertmanager.yml");
    let text = format!(
        "route: {{receiver: test, group_by: ['...'], group_wait: 0s}}\n\
         receivers: [{{name: test, webhook_configs: [{{url: '{}'}}]}}]\n",
        receiver.url()
    );
    std::fs::write(&config, text).expect("written");
    let daemon = Daemon::start(
        Command::new(ALERTMANAGER)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", world.path("alertmanager").display()))
            .args(["--web.listen-address=127.0.0.1:9093", "--cluster.listen-address="]),
    );
    eventually("Alertmanager", || {
        http::get(ALERTMANAGER_ADDRESS, "/-/ready").ok().filter(|answer| answer.status == 200)
    });
    daemon
}

/// Runs a test beside an Alertmanager, if there is one, with a sink for it.
fn beside_alertmanager(test: impl FnOnce(&World, String) + Send) {
    if !Path::new(ALERTMANAGER).exists() {
        return eprintln!("skipped: there is no {ALERTMANAGER}");
    }
    in_world(|world| {
        let receiver = fine();
        let _alertmanager = alertmanager(world, &receiver);
        test(world, "{kind: alertmanager, url: \"http://127.0.0.1:9093\"}".to_owned());
    });
}

const ALERTMANAGER_ADDRESS: SocketAddr =
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9093));

/// What Alertmanager answers. HTTP/1.0 has no chunks.
fn ask_alertmanager(request: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(ALERTMANAGER_ADDRESS).expect("connected");
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    assert!(head.starts_with("HTTP/1.0 200"), "{answer}");
    body.to_owned()
}

fn active_alerts() -> Vec<Value> {
    serde_json::from_str(&ask_alertmanager("GET /api/v2/alerts", "")).expect("JSON")
}

#[test]
fn alertmanager_receives_binds_at_once() {
    if !Path::new(ALERTMANAGER).exists() {
        return eprintln!("skipped: there is no {ALERTMANAGER}");
    }
    in_world(|world| {
        let receiver = fine();
        // Alertmanager is not running yet when the first alert is sent.
        let sink = "{kind: alertmanager, url: \"http://127.0.0.1:9093\", \
                    labels: {instance: \"web1:10948\"}}";
        let config = Config::new((0..=TIMED).map(port)).with_sinks([sink.to_owned()]);
        let agent = Agent::start(world, &config);
        bind(TIMED);
        eventually("an attempt", || agent.log().contains("takes no alerts now").then_some(()));
        let _alertmanager = alertmanager(world, &receiver);
        let notified = |offset: u16, name: &str| {
            let (port, name) = (port(offset).to_string(), name.to_owned());
            move |alert: &Value| {
                alert["labels"]["port"] == *port && alert["labels"]["alertname"] == *name
            }
        };
        let arrived = |offset| {
            let is_it = notified(offset, "GhostportBindOnDormantPort");
            receiver.requests().iter().find_map(|request| {
                request.json()["alerts"]
                    .as_array()?
                    .iter()
                    .find(|a| is_it(a))
                    .map(|_| request.arrived)
            })
        };
        eventually("the first alert", || arrived(TIMED));
        let median = median_delay("Alertmanager and on to its webhook", arrived);
        assert_is_soon(median);

        // One alert for each bind, which made two events.
        let alerts = active_alerts();
        assert_eq!(alerts.len(), TIMED as usize + 1, "{alerts:#?}");
        let is_it = notified(0, "GhostportBindOnDormantPort");
        let alert = alerts.iter().find(|alert| is_it(alert)).expect("an alert");
        assert_eq!(alert["annotations"]["process_pid"], std::process::id().to_string());
        let labels: Vec<&String> = alert["labels"].as_object().expect("labels").keys().collect();
        assert_eq!(
            labels,
            ["alertname", "cause", "instance", "job", "port", "reporter", "severity"]
        );
        assert_eq!(lost(&agent), 0.0);
    });
}

/// The alerts that Alertmanager has, by name and port.
fn names() -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let alerts = active_alerts();
    let mut names: Vec<_> = alerts
        .iter()
        .map(|alert| (text(&alert["labels"]["alertname"]), text(&alert["labels"]["port"])))
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn a_restart_continues_the_alert_of_a_bind_that_goes_on() {
    beside_alertmanager(|world, sink| {
        let config = Config::new([port(0)]).with_sinks([sink]);
        let agent = Agent::start(world, &config);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port(0))).expect("bound");
        let bound = ("GhostportBindOnDormantPort".to_owned(), port(0).to_string());
        eventually("the alert", || names().contains(&bound).then_some(()));
        assert!(agent.terminate().success());
        let agent = Agent::start(world, &config);
        eventually("the socket, found open", || {
            (count(&agent.events(), "unexpected_owner", 0) > 1).then_some(())
        });
        // What was found open has gone through the sink's queue when this is there.
        bind(99);
        let later = port(99).to_string();
        eventually("a later alert", || {
            names().iter().any(|(_, port)| *port == later).then_some(())
        });
        let of_port = names().into_iter().filter(|(_, found)| *found == port(0).to_string());
        assert_eq!(of_port.collect::<Vec<_>>(), [bound]);
        drop(socket);
    });
}

#[test]
fn counts_alerts_lost_to_an_absent_alertmanager() {
    in_world(|world| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let address = listener.local_addr().expect("an address");
        let sink = format!("{{kind: alertmanager, url: \"http://{address}\"}}");
        let agent = Agent::start(world, &Config::new([port(0)]).with_sinks([sink]));
        // It takes the connection and says nothing.
        bind(0);
        thread::sleep(Duration::from_millis(200));
        assert_eq!(agent.get("/metrics").status, 200);
        let log = world.path("stderr");
        assert!(agent.terminate().success());
        let said = std::fs::read_to_string(log).expect("a log");
        assert!(
            said.contains("events to the Alertmanager at") && said.contains("are lost"),
            "{said}"
        );
    });
}

#[test]
fn alertmanager_receives_unexpected_listeners() {
    beside_alertmanager(|world, sink| {
        let config = Config::new([port(0)]).listeners("{watch: all, learn: 1s}").with_sinks([sink]);
        let _agent = Agent::start(world, &config);
        eventually("the end of learning", || {
            let document: Value = json(&finish(ghostport().args(["check", "--all", "--json"])));
            (document["learning"] == false).then_some(())
        });
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port(1))).expect("bound");
        let is_it = |alert: &Value| {
            let labels = &alert["labels"];
            labels["alertname"] == "GhostportNewListener" && labels["port"] == *port(1).to_string()
        };
        let alert = eventually("the alert", || active_alerts().into_iter().find(is_it));
        assert_eq!(alert["labels"]["severity"], "warning", "{alert:#}");
        assert_eq!(alert["labels"]["protocol"], "tcp", "{alert:#}");
        let pid = std::process::id().to_string();
        assert_eq!(alert["annotations"]["process_pid"], *pid, "{alert:#}");
    });
}
