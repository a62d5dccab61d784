//! Rules and alerts that operators import, with the real Prometheus and Alertmanager: a bind leads to
//! a notification. What panels show is in `hour.rs`.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use metric_names::promql::uses;
use testkit::{
    agent::{Agent, Config, finish, ghostport},
    alertmanager::{Alertmanager, Webhook},
    eventually,
    happenings::{ELSEWHERE, Served, bind_in_passing, probe, talk_elsewhere},
    panels::questions,
    patience,
    prometheus::Prometheus,
    world::{Peer, in_world, port},
};

use super::support::{LISTENERS, TARGET, strange_listener};

/// A target that does not answer.
const ABSENT: &str = "127.0.0.1:9";

/// The first scrape has the series of this port, at zero.
fn await_scrape(prometheus: &Prometheus) {
    let awakenings = format!(r#"ghostport_awakenings_total{{port="{}"}} == 0"#, port(0));
    eventually("the first scrape", || (prometheus.query(&awakenings).len() == 4).then_some(()));
}

/// From `bind()` to the receiver of the webhook. The test prints how long that takes and sets no
/// limit: most of it are the intervals of the scrape and of Alertmanager, a second each here.
#[test]
fn alerts_a_webhook_about_a_bind_on_a_dormant_port() {
    in_world(|world| {
        let prometheus = Prometheus::start(world);
        let alertmanager = Alertmanager::start(world);
        let webhook = Webhook::start();
        let agent = Agent::start(world, &Config::new([port(0)]).on(&["lo"]));
        prometheus.scrape(&[TARGET]);
        await_scrape(&prometheus);

        let peer = Peer::alone();
        let (bound_at, socket) = peer.run(|| {
            let at = Instant::now();
            (at, UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port(0))).expect("bound"))
        });
        let notification = webhook.next(patience());
        let took = notification.at.duration_since(bound_at);
        println!("from bind() to the webhook: {} ms", took.as_millis());

        assert_eq!(notification.path, "/on-call");
        let body = &notification.body;
        assert_eq!(body["status"], "firing", "{body}");
        assert_eq!(body["groupLabels"]["port"], port(0).to_string(), "{body}");
        assert_eq!(body["groupLabels"]["instance"], TARGET, "{body}");
        let alerts = body["alerts"].as_array().expect("alerts");
        let alert = alerts
            .iter()
            .find(|alert| alert["labels"]["alertname"] == "GhostportBindOnDormantPort")
            .unwrap_or_else(|| panic!("not the alert: {body}"));
        assert_eq!(alert["labels"]["severity"], "critical", "{alert}");
        assert_eq!(alert["labels"]["cause"], "bind", "{alert}");
        let summary = alert["annotations"]["summary"].as_str().expect("a summary");
        assert!(summary.contains(&port(0).to_string()) && summary.contains(TARGET), "{summary}");
        let runbook = alert["annotations"]["runbook_url"].as_str().expect("a runbook");
        let path = runbook.strip_prefix(&format!("http://{TARGET}")).expect("the agent's address");
        let page = agent.get(path);
        assert_eq!(page.status, 200, "{runbook}");
        assert!(page.body.contains("<h1>GhostportBindOnDormantPort</h1>"), "{}", page.body);
        let dashboard = alert["annotations"]["dashboard_url"].as_str().expect("a dashboard");
        assert!(dashboard.contains("/graph?g0.expr=ghostport_port_state"), "{dashboard}");

        // The unexpected owner is the same story, and says nothing new.
        eventually("an inhibited alert", || {
            let alerts = alertmanager.alerts();
            let unexpected = alerts
                .iter()
                .find(|alert| alert["labels"]["alertname"] == "GhostportUnexpectedOwner")?;
            (!unexpected["status"]["inhibitedBy"].as_array()?.is_empty()).then_some(())
        });
        drop(socket);
    });
}

#[test]
fn rules_and_panels_query_exported_metrics() {
    in_world(|world| {
        let peer = world.peer();
        let prometheus = Prometheus::start(world);
        // Only a veth has native XDP here, so `lo` lacks a hook, which a panel is about.
        // The last one has a name, which the others lack.
        let config =
            Config::new([port(0), port(1), ELSEWHERE]).on(&["lo", "gp0"]).mode("xdp-native");
        let config = config.listeners(LISTENERS);
        let agent = Agent::start(world, &config);
        prometheus.scrape(&[TARGET, ABSENT]);
        await_scrape(&prometheus);
        probe(&peer);
        eventually("an awakening by packet", || {
            let labels = [("cause", "packet")];
            (agent.metrics().sum("ghostport_awakenings_total", &labels) == 1).then_some(())
        });
        assert!(finish(ghostport().arg("selftest")).status.success());
        let _stranger = strange_listener(&agent);
        live(&peer, Duration::from_secs(12));

        let metrics = agent.metrics();
        let rules = prometheus.rules();
        assert!(rules.len() > 20, "{} rules", rules.len());
        for rule in &rules {
            assert_eq!(rule["health"], "ok", "{rule}");
            assert_is_served(rule["query"].as_str().expect("a query"), &metrics);
        }
        let firing: BTreeSet<_> = rules
            .iter()
            .filter(|rule| rule["type"] == "alerting" && rule["state"] == "firing")
            .map(|rule| rule["name"].as_str().expect("a name"))
            .collect();
        // The others need time to pass, or more to break; promtool's tests have them all.
        let expected = [
            "GhostportAwakenedByPacket",
            "GhostportBindOnDormantPort",
            "GhostportBindRefused",
            "GhostportOutboundUse",
            "GhostportPortServed",
            "GhostportUnexpectedOwner",
        ];
        for name in expected {
            assert!(firing.contains(name), "{name} does not fire: {firing:?}");
        }
        for question in ["overview", "host"].iter().flat_map(|name| questions(name, "4s")) {
            assert_is_served(&question.expression, &metrics);
        }
    });
}

/// What happens to ports, in short.
fn live(peer: &Peer, duration: Duration) {
    let end = Instant::now() + duration;
    let served = Served::start();
    while Instant::now() < end {
        served.visit(peer);
        probe(peer);
        talk_elsewhere();
        bind_in_passing();
        thread::sleep(Duration::from_millis(700));
    }
}

/// Every metric of the agent that an expression uses is in the scrape, with the labels that are
/// matched. Prometheus itself adds `job`, `instance`, `up` and series of alerts; a colon is in what rules record.
fn assert_is_served(expression: &str, metrics: &testkit::metrics::Metrics) {
    for selector in uses(expression).selectors {
        let name = selector.metric.as_str();
        if ["up", "ALERTS", "ALERTS_FOR_STATE"].contains(&name) || name.contains(':') {
            continue;
        }
        let series: Vec<_> = metrics.series.iter().filter(|(found, ..)| found == name).collect();
        assert!(!series.is_empty(), "{name} is not served: {expression}");
        let labels = selector.labels.iter().map(|(label, _)| label);
        for label in labels.filter(|label| !["job", "instance"].contains(&label.as_str())) {
            let all = series.iter().all(|(_, labels, _)| labels.contains_key(label));
            assert!(all, "{name} has no label {label}: {expression}");
        }
    }
}
