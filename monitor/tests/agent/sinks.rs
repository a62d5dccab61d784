//! Where events go, from outside: to servers that take them, and to those that do not; to a real
//! Alertmanager and a real journal.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest, common::v1::any_value::Value as OtlpValue,
};
use prost::Message as _;
use rustix::process::Signal;
use serde_json::Value;
use testkit::{
    agent::{Agent, Config, ghostport},
    certificates::authority,
    eventually, http, patience,
    receiver::{Answer, Receiver},
    sh, try_sh,
    world::{World, in_world, port},
};
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

/// Binds that are timed, each on a port of its own.
const TIMED: u16 = 25;

fn webhook(receiver: &Receiver) -> String {
    format!("{{kind: webhook, url: \"{}/hook\"}}", receiver.url())
}

fn fine() -> Receiver {
    Receiver::start(|_| Answer::Status(200))
}

fn bind(offset: u16) {
    drop(UdpSocket::bind((Ipv4Addr::LOCALHOST, port(offset))).expect("a socket"));
}

fn lost(agent: &Agent) -> f64 {
    agent.metrics().value("ghostport_events_lost_total", &[("stage", "sink")])
}

/// Events of this kind about the port.
fn count(events: &[Value], kind: &str, offset: u16) -> usize {
    let name = format!("ghostport.{kind}");
    let is_it = |event: &&Value| {
        event["event.name"] == *name && event["network.local.port"] == port(offset)
    };
    events.iter().filter(is_it).count()
}

fn wait_for_binds(receiver: &Receiver, offset: u16, binds: usize) {
    eventually(&format!("{binds} binds"), || {
        (count(&receiver.elements(), "bind", offset) >= binds).then_some(())
    });
}

/// The median delay between a bind and its arrival, each bind on a port of its own.
fn median_delay(what: &str, arrived: impl Fn(u16) -> Option<Instant>) -> Duration {
    let mut delays: Vec<Duration> = (0..TIMED)
        .map(|offset| {
            let start = Instant::now();
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port(offset))).expect("a socket");
            let arrived = eventually("what the bind makes", || arrived(offset));
            drop(socket);
            arrived.duration_since(start)
        })
        .collect();
    delays.sort_unstable();
    let median = delays[delays.len() / 2];
    eprintln!("from bind() to {what}: median {median:?}, longest {:?}", delays[delays.len() - 1]);
    median
}

/// What is to be reached on a machine of its own; an emulated one is slow.
fn assert_is_soon(median: Duration) {
    assert!(median < patience() / 300, "{median:?}");
}

#[test]
fn a_webhook_receives_every_event_unchanged() {
    in_world(|world| {
        let receiver = fine();
        let config = Config::new((0..TIMED).map(port)).with_sinks([webhook(&receiver)]);
        let agent = Agent::start(world, &config);
        let median = median_delay("the webhook", |offset| {
            let requests = receiver.requests();
            let told = |json: Value| {
                json.as_array().is_some_and(|events| count(events, "bind", offset) > 0)
            };
            Some(requests.iter().find(|request| told(request.json()))?.arrived)
        });
        assert_is_soon(median);
        let events = eventually("every event", || {
            let events = agent.events();
            (receiver.elements() == events && count(&events, "close", TIMED - 1) > 0)
                .then_some(events)
        });
        assert_eq!(count(&events, "unexpected_owner", 0), 1);
        let request = &receiver.requests()[0];
        assert!(request.head.starts_with("POST /hook HTTP/1.1\r\n"), "{}", request.head);
        assert!(request.head.contains("content-type: application/json\r\n"), "{}", request.head);
        assert_eq!(lost(&agent), 0.0);
    });
}

#[test]
fn verifies_servers_by_the_authorities_of_the_host() {
    in_world(|world| {
        authority(world, "ca", &["server"]);
        let read = |name: &str| std::fs::read(world.path(name)).expect("a file");
        let certificate = CertificateDer::from_pem_slice(&read("server.crt")).expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(&read("server.key")).expect("PEM");
        let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a certificate");
        let receiver = Receiver::start_with_tls(tls);
        let url = receiver.url().replace("http:", "https:");
        let config =
            Config::new([port(0)]).with_sinks([format!("{{kind: webhook, url: \"{url}\"}}")]);

        let trusting = |file: &str| {
            let mut command = ghostport();
            command.arg("run").env("SSL_CERT_FILE", world.path(file));
            Agent::launch(world, &config, command)
        };
        let agent = trusting("ca.crt");
        bind(0);
        wait_for_binds(&receiver, 0, 1);
        assert_eq!(lost(&agent), 0.0);
        assert!(agent.terminate().success());

        authority(world, "other", &[]);
        let told = receiver.requests().len();
        let agent = trusting("other.crt");
        eventually("a refusal", || {
            agent.log().contains("invalid peer certificate: UnknownIssuer").then_some(())
        });
        assert!(agent.terminate().success());
        assert_eq!(receiver.requests().len(), told);
    });
}

#[test]
fn a_hanging_receiver_delays_no_other_sink() {
    in_world(|world| {
        let (stuck, other) = (Receiver::start(|_| Answer::Never), fine());
        let sinks = [&stuck, &other].map(webhook);
        let agent = Agent::start(world, &Config::new([port(0)]).with_sinks(sinks));
        for round in 1..=20 {
            bind(0);
            wait_for_binds(&other, 0, round);
        }
        assert_eq!(count(&agent.events(), "bind", 0), 20, "the file has them as well");
        assert!(!stuck.requests().is_empty(), "it was asked");
        let log = world.path("stderr");
        let started = Instant::now();
        assert!(agent.terminate().success());
        assert!(started.elapsed() < patience(), "{:?}", started.elapsed());
        let said = std::fs::read_to_string(log).expect("a log");
        assert!(
            said.contains(&format!("events to the webhook at {} are lost", stuck.url())),
            "{said}"
        );
        let stopped = other.elements();
        assert_eq!(stopped.last().expect("events")["event.name"], "ghostport.agent_stopped");
    });
}

#[test]
fn counts_and_drops_what_a_receiver_rejects() {
    in_world(|world| {
        let (refusing, other) = (Receiver::start(|_| Answer::Status(400)), fine());
        let sinks = [&refusing, &other].map(webhook);
        let agent = Agent::start(world, &Config::new([port(0)]).with_sinks(sinks));
        bind(0);
        wait_for_binds(&other, 0, 1);
        eventually("losses", || (lost(&agent) > 0.0).then_some(()));
        eventually("as many losses as events", || {
            (lost(&agent) == refusing.elements().len() as f64).then_some(())
        });
        assert_eq!(count(&refusing.elements(), "bind", 0), 1, "it was sent once");
        assert!(agent.log().contains("are lost: it answers 400"), "{}", agent.log());
    });
}

#[test]
fn retries_what_fails_for_a_while() {
    in_world(|world| {
        // Two answers that may pass, then one that is slow.
        let receiver = Receiver::start(|number| match number {
            0 => Answer::Status(503),
            1 => Answer::Status(429),
            _ => Answer::After(Duration::from_millis(300)),
        });
        let agent = Agent::start(world, &Config::new([port(0)]).with_sinks([webhook(&receiver)]));
        for _ in 0..100 {
            bind(0);
        }
        let mut events = eventually("every event", || {
            let told = agent.events();
            let requests = receiver.requests();
            let taken = requests.get(2..)?.iter().flat_map(|r| r.json().as_array().cloned());
            let events: Vec<Value> = taken.flatten().collect();
            (count(&events, "bind", 0) == 100 && events.len() == told.len()).then_some(events)
        });
        events.dedup();
        assert_eq!(events, agent.events(), "each once, and in order");
        assert!(receiver.requests().len() < 20, "many events go together");
        assert_eq!(lost(&agent), 0.0);
        assert!(agent.terminate().success());
        assert_eq!(
            receiver.elements().last().expect("events")["event.name"],
            "ghostport.agent_stopped"
        );
    });
}

#[test]
fn a_reload_keeps_the_queues_of_remaining_sinks() {
    in_world(|world| {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let stays = "{kind: webhook, url: \"http://127.0.0.1:9/\"}".to_owned();
        let config = Config::new([port(0)]).with_sinks([stays.clone()]);
        let agent = Agent::start(world, &config);
        bind(0);
        let other = fine();
        config.with_sinks([webhook(&other), stays]).write(world);
        assert!(agent.reload());
        bind(0);
        wait_for_binds(&other, 0, 1);
        assert_eq!(count(&other.elements(), "bind", 0), 1, "it was not there before");
        let late = Receiver::start_on(address, |_| Answer::Status(200));
        wait_for_binds(&late, 0, 2);
        assert_eq!(lost(&agent), 0.0);
    });
}

#[test]
fn reopens_a_rotated_file() {
    in_world(|world| {
        let agent = Agent::start(world, &Config::new([port(0)]));
        let (file, old) = (world.path("events.jsonl"), world.path("events.jsonl.1"));
        std::fs::rename(&file, &old).expect("renamed");
        agent.signal(Signal::HUP);
        eventually("a new file", || file.exists().then_some(()));
        let open = format!("ls -l /proc/{}/fd", agent.pid());
        eventually("the old file to be let go", || {
            (!sh(&open).contains("events.jsonl.1")).then_some(())
        });
        bind(0);
        eventually("the bind", || (count(&agent.events(), "bind", 0) == 1).then_some(()));
    });
}

#[test]
fn an_otlp_receiver_receives_records() {
    in_world(|world| {
        let receiver = fine();
        let sink = format!("{{kind: otlp, endpoint: \"{}\"}}", receiver.url());
        let agent = Agent::start(world, &Config::new([port(0)]).with_sinks([sink]));
        bind(0);
        let record = eventually("the record", || {
            let records = receiver.requests().into_iter().flat_map(|request| {
                assert!(request.head.starts_with("POST /v1/logs HTTP/1.1\r\n"), "{}", request.head);
                assert!(request.head.contains("content-type: application/x-protobuf\r\n"));
                let request = ExportLogsServiceRequest::decode(request.body.as_slice());
                request.expect("OTLP").resource_logs.into_iter().flat_map(|logs| logs.scope_logs)
            });
            let mut records = records.flat_map(|scope| scope.log_records);
            records.find(|record| record.event_name == "ghostport.bind")
        });
        let pid = record.attributes.iter().find(|attribute| attribute.key == "process.pid");
        let pid = pid.and_then(|pid| pid.value.as_ref()).and_then(|pid| pid.value.as_ref());
        assert_eq!(pid, Some(&OtlpValue::IntValue(std::process::id().into())));
        assert_eq!(lost(&agent), 0.0);
    });
}

/// A program that ends with the test.
struct Daemon(Child);

impl Daemon {
    fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("spawned"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

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

        let alerts = active_alerts();
        assert_eq!(alerts.len(), 2 * (TIMED as usize + 1), "{alerts:#?}");
        let is_it = notified(0, "GhostportUnexpectedOwner");
        let alert = alerts.iter().find(|alert| is_it(alert)).expect("an unexpected owner");
        assert_eq!(alert["annotations"]["process_pid"], std::process::id().to_string());
        let labels: Vec<&String> = alert["labels"].as_object().expect("labels").keys().collect();
        assert_eq!(labels, ["alertname", "instance", "job", "port", "protocol", "severity"]);

        // The rule of the same name, as Prometheus sends it, is the same alert.
        let rule = serde_json::json!([{"labels": alert["labels"], "annotations": {"summary": "the rule"}}]);
        ask_alertmanager("POST /api/v2/alerts", &rule.to_string());
        assert_eq!(active_alerts().len(), alerts.len());
        assert_eq!(lost(&agent), 0.0);
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

const JOURNALD: &str = "/lib/systemd/systemd-journald";

#[test]
fn the_journal_receives_every_field() {
    if !Path::new(JOURNALD).exists() {
        return eprintln!("skipped: there is no {JOURNALD}");
    }
    in_world(|world| {
        let journald = Daemon::start(&mut Command::new(JOURNALD));
        let socket = Path::new("/run/systemd/journal/socket");
        eventually("journald", || socket.exists().then_some(()));
        let agent =
            Agent::start(world, &Config::new([port(0)]).with_sinks(["{kind: journal}".into()]));
        bind(0);
        let entry = eventually("the entry", || {
            let (read, entries) = try_sh("journalctl -D /run/log/journal -o json -t ghostport");
            let entries =
                entries.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let is_it = |entry: &Value| entry["EVENT_NAME"] == "ghostport.unexpected_owner";
            read.then_some(())?;
            entries.into_iter().find(is_it)
        });
        assert_eq!(entry["NETWORK_LOCAL_PORT"], port(0).to_string());
        assert_eq!(entry["PROCESS_PID"], std::process::id().to_string());
        assert_eq!(entry["_PID"], agent.pid().to_string(), "the journal knows who has told it");
        assert_eq!(entry["PRIORITY"], "4");
        assert_eq!(lost(&agent), 0.0);

        // Without journald, events are lost and counted.
        drop(journald);
        std::fs::remove_file(socket).expect("removed");
        bind(0);
        eventually("losses", || (lost(&agent) > 0.0).then_some(()));
    });
}
