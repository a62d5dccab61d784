//! What sinks send: which events, with which labels and headers, and bodies made by the
//! templates of docs/operate/sinks.md, to receivers that check what they get.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

use serde_json::{Deserializer, Value};
use testkit::{
    agent::{Agent, Config, finish, ghostport},
    eventually,
    receiver::{Receiver, Request},
    world::{World, in_world, port},
};

use super::support::{bind, count, fine, lost, wait_for_binds};

/// The sink in the section of this name of docs/operate/sinks.md, sent to `receiver`.
fn example(section: &str, receiver: &Receiver) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operate/sinks.md");
    let page = fs::read_to_string(page).expect("a page");
    let text = page.split_once(&format!("\n### {section}\n")).expect(section).1;
    let text = text.split_once("```yaml\n").expect("an example").1;
    let text = text.split_once("```\n").expect("its end").0;
    let is_url = |line: &&str| line.starts_with("url: ");
    let url = text.lines().find(is_url).expect("a URL");
    let text = text.replace(url, &format!("url: {}/path", receiver.url()));
    // An item of a list, whose lines stand below its first.
    text.trim_end().replace('\n', "\n    ")
}

/// An agent with this sink, and a bind that awakens its port.
fn told(world: &World, sink: String, receiver: &Receiver) -> (Agent, Vec<Request>) {
    let agent = Agent::start(world, &Config::new([port(0)]).with_sinks([sink]));
    bind(0);
    let requests = eventually("requests", || {
        let requests = receiver.requests();
        let is_awakening =
            |request: &Request| String::from_utf8_lossy(&request.body).contains("awakened");
        requests.iter().any(is_awakening).then_some(requests)
    });
    (agent, requests)
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let mut lines = request.head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer}: {value}"))
}

#[test]
fn slack_gets_messages_with_blocks() {
    in_world(|world| {
        let receiver = fine();
        let (agent, requests) = told(world, example("Slack", &receiver), &receiver);
        for request in &requests {
            assert!(request.head.starts_with("POST /path HTTP/1.1"), "{}", request.head);
            assert_eq!(header(request, "content-type"), Some("application/json"));
            let message = request.json();
            assert!(!text(&message, "/text").is_empty());
            let blocks = message["blocks"].as_array().expect("blocks");
            assert!((1..=50).contains(&blocks.len()), "{message}");
            let section = text(&message, "/blocks/0/text/text");
            assert!((1..=3000).contains(&section.chars().count()), "{section}");
            assert_eq!(text(&message, "/blocks/0/text/type"), "plain_text");
            let program = text(&message, "/blocks/1/elements/0/text");
            assert!(program.starts_with('/') && program.contains(", user root, "), "{program}");
        }
        assert_eq!(lost(&agent), 0.0);
    });
}

#[test]
fn pagerduty_gets_events_of_its_api() {
    in_world(|world| {
        let receiver = fine();
        let (agent, requests) = told(world, example("PagerDuty", &receiver), &receiver);
        let mut keys: Vec<String> = Vec::new();
        for request in &requests {
            let event = request.json();
            assert_eq!(text(&event, "/routing_key").len(), 32);
            assert_eq!(text(&event, "/event_action"), "trigger");
            let key = text(&event, "/dedup_key");
            assert!(key.len() <= 255 && key.ends_with(&format!("/{}", port(0))), "{key}");
            keys.push(key.to_owned());
            let summary = text(&event, "/payload/summary");
            assert!((1..=1024).contains(&summary.chars().count()), "{summary}");
            assert!(!text(&event, "/payload/source").is_empty());
            assert_eq!(text(&event, "/payload/severity"), "critical");
            let timestamp: Result<jiff::Timestamp, _> = text(&event, "/payload/timestamp").parse();
            assert!(timestamp.is_ok(), "{event}");
            let pid = &event["payload"]["custom_details"]["process.pid"];
            assert_eq!(*pid, std::process::id(), "{event}");
        }
        keys.dedup();
        assert_eq!(keys.len(), 1, "one incident: {keys:?}");
        assert_eq!(lost(&agent), 0.0);
    });
}

#[test]
fn splunk_gets_a_row_of_events_and_a_token() {
    in_world(|world| {
        let receiver = fine();
        let file = world.path("splunk.headers");
        fs::write(&file, "Authorization: Splunk 11111111-2222\n").expect("written");
        let path = file.to_str().expect("a path");
        let sink = example("Splunk", &receiver).replace("/etc/ghostport/splunk.headers", path);
        let (agent, requests) = told(world, sink, &receiver);
        let mut several = 0;
        for request in &requests {
            assert_eq!(header(request, "authorization"), Some("Splunk 11111111-2222"));
            let values = Deserializer::from_slice(&request.body).into_iter::<Value>();
            let values: Vec<Value> = values.map(|value| value.expect("JSON")).collect();
            assert!(!values.is_empty());
            several += usize::from(values.len() > 1);
            for value in &values {
                assert!(value["time"].as_f64().expect("a time") > 1.6e9, "{value}");
                assert_eq!(value["sourcetype"], "ghostport:event");
                assert_eq!(value["host"], value["event"]["host.name"]);
                assert_eq!(value["event"]["schema"], "ghostport.event/1");
            }
        }
        assert!(several > 0, "a bind makes several events, and the first one waits for them");
        assert_eq!(lost(&agent), 0.0);
    });
}

#[test]
fn a_sink_gets_the_events_that_it_asks_for_with_its_labels() {
    in_world(|world| {
        let (kinds, severe, all) = (fine(), fine(), fine());
        let sinks = [
            (&kinds, "kinds: [bind, close], labels: {site: fra}"),
            (&severe, "min_severity: critical"),
            (&all, "min_severity: info"),
        ];
        let sink = |(receiver, keys): (&Receiver, &str)| {
            format!("{{kind: webhook, url: \"{}/hook\", {keys}}}", receiver.url())
        };
        let config = Config::new([port(0)]).with_sinks(sinks.map(sink));
        let agent = Agent::start(world, &config);
        bind(0);
        eventually("the close", || (count(&all.elements(), "close", 0) == 1).then_some(()));
        wait_for_binds(&kinds, 0, 1);
        assert!(agent.terminate().success());
        let names = |receiver: &Receiver| {
            let mut names: Vec<String> = receiver
                .elements()
                .iter()
                .filter(|event| event["network.local.port"] == port(0))
                .map(|event| event["event.name"].as_str().expect("a name").to_owned())
                .collect();
            names.sort_unstable();
            names
        };
        assert_eq!(names(&kinds), ["ghostport.bind", "ghostport.close"]);
        assert_eq!(names(&severe), ["ghostport.awakened", "ghostport.unexpected_owner"]);
        assert!(names(&all).len() >= 4, "{:?}", names(&all));
        for event in kinds.elements() {
            assert_eq!(event["ghostport.labels"], serde_json::json!({"site": "fra"}));
        }
        assert!(all.elements().iter().all(|event| event["ghostport.labels"].is_null()));
    });
}

#[test]
fn headers_are_secrets_and_are_read_again() {
    in_world(|world| {
        let receiver = fine();
        let file = world.path("hook.headers");
        fs::write(&file, "X-Token: first-secret\n").expect("written");
        fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("changed");
        let sink = format!(
            "{{kind: webhook, url: \"{}/hook\", headers_file: {}}}",
            receiver.url(),
            file.display()
        );
        let config = Config::new([port(0)]).with_sinks([sink]);
        let path = config.write(world);
        let shown = |command: &str| {
            finish(ghostport().args(["config", command]).arg("--config").arg(&path))
        };
        let show = shown("show");
        let all = [show.stdout.clone(), show.stderr, shown("check").stdout].concat();
        let all = String::from_utf8_lossy(&all);
        assert!(all.contains("hook.headers") && !all.contains("first-secret"), "{all}");
        let warning = String::from_utf8_lossy(&shown("check").stderr).into_owned();
        assert!(warning.contains("its mode 644 lets every user read it"), "{warning}");

        let agent = Agent::start(world, &config);
        assert!(agent.log().contains("its mode 644 lets every user read it"), "{}", agent.log());
        let has = |token: &str| {
            let requests = receiver.requests();
            requests.iter().any(|request| header(request, "x-token") == Some(token))
        };
        bind(0);
        eventually("the first token", || has("first-secret").then_some(()));
        fs::write(&file, "X-Token: the-second-secret\n").expect("written");
        bind(0);
        eventually("the second token", || has("the-second-secret").then_some(()));

        // A file that cannot be used is refused, with its place, and the old headers stay.
        fs::write(&file, "X-Token: third-secret\nnonsense\n").expect("written");
        let check = shown("check");
        let said = String::from_utf8_lossy(&check.stderr).into_owned();
        assert_eq!(check.status.code(), Some(2));
        assert!(said.contains("hook.headers:2:1: this is no header"), "{said}");
        assert!(!agent.reload());
        let sent = receiver.requests().len();
        bind(0);
        eventually("another request", || (receiver.requests().len() > sent).then_some(()));
        let last = receiver.requests().pop().expect("a request");
        assert_eq!(header(&last, "x-token"), Some("the-second-secret"));
        assert!(!agent.log().contains("-secret"), "{}", agent.log());
    });
}

#[test]
fn a_template_is_refused_with_its_place() {
    in_world(|world| {
        let path = world.path("wrong.yaml");
        let text = "sinks:\n  - kind: webhook\n    url: http://127.0.0.1:1/\n    template: |\n      \
                    {\n        \"a\": {{ event.text|nix }}\n      }\n";
        fs::write(&path, text).expect("written");
        let check = finish(ghostport().args(["config", "check", "--config"]).arg(&path));
        let said = String::from_utf8_lossy(&check.stderr).into_owned();
        assert_eq!(check.status.code(), Some(2), "{said}");
        assert!(said.contains("wrong.yaml:6:28: unknown filter"), "{said}");
    });
}

#[test]
fn lingering_gathers_events() {
    in_world(|world| {
        let receiver = fine();
        let sink = format!("{{kind: webhook, url: \"{}/hook\", linger: 2s}}", receiver.url());
        let agent = Agent::start(world, &Config::new([port(0)]).with_sinks([sink]));
        eventually("the start", || (!receiver.requests().is_empty()).then_some(()));
        for _ in 0..10 {
            bind(0);
            std::thread::sleep(Duration::from_millis(50));
        }
        wait_for_binds(&receiver, 0, 1);
        let with_binds = receiver.requests().into_iter().filter(|request| {
            request.json().as_array().is_some_and(|events| count(events, "bind", 0) > 0)
        });
        assert!(with_binds.count() <= 2, "{:?}", receiver.requests().len());
        assert!(agent.terminate().success(), "what waits is sent when the agent stops");
    });
}

#[test]
fn a_receiver_gets_so_many_events_a_second() {
    in_world(|world| {
        let receiver = fine();
        let url = receiver.url();
        let sink = format!("{{kind: webhook, url: \"{url}/hook\", kinds: [bind], rate: 2}}");
        let agent = Agent::start(world, &Config::new([port(0)]).with_sinks([sink]));
        (0..8).for_each(|_| bind(0));
        wait_for_binds(&receiver, 0, 8);
        let requests = receiver.requests();
        assert!(
            requests.iter().all(|request| request.json().as_array().expect("events").len() < 3)
        );
        let held_back = agent.metrics().value("ghostport_events_held_back_total", &[]);
        assert!((1.0..=6.0).contains(&held_back), "{held_back}");
        assert_eq!(lost(&agent), 0.0);
    });
}
