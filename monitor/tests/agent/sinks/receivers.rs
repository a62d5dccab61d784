//! Servers and files that take events, and servers that do not.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
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
    eventually, patience,
    receiver::{Answer, Receiver},
    world::{in_world, port},
};
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::support::{
    TIMED, assert_is_soon, bind, count, fine, lost, median_delay, wait_for_binds, webhook,
};

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
        let read = |name: &str| fs::read(world.path(name)).expect("a file");
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
        let said = fs::read_to_string(log).expect("a log");
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
        // With their closes within the share of a process.
        for _ in 0..50 {
            bind(0);
        }
        let mut events = eventually("every event", || {
            let told = agent.events();
            let requests = receiver.requests();
            let taken = requests.get(2..)?.iter().flat_map(|r| r.json().as_array().cloned());
            let events: Vec<Value> = taken.flatten().collect();
            (count(&events, "bind", 0) == 50 && events.len() == told.len()).then_some(events)
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
        fs::rename(&file, &old).expect("renamed");
        agent.signal(Signal::HUP);
        eventually("a new file", || file.exists().then_some(()));
        // The agent opens and closes others meanwhile.
        let is_open = || {
            let descriptors = fs::read_dir(format!("/proc/{}/fd", agent.pid())).expect("a folder");
            let open = descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
            open.into_iter().any(|path| path == old)
        };
        eventually("the old file to be let go", || (!is_open()).then_some(()));
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
