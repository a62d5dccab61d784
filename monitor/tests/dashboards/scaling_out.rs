//! The files that fleets grow into, each with the real programs: replicas and a cluster of
//! Alertmanagers, federation, and samples that are written to a database elsewhere.

use std::{
    net::{Ipv4Addr, UdpSocket},
    thread,
    time::Duration,
};

use testkit::{
    agent::{Agent, Config},
    alertmanager::{Alertmanager, Webhook},
    eventually, patience,
    prometheus::{Prometheus, every_second},
    victoria::{VictoriaMetrics, Vmalert},
    world::{World, in_world, port},
};

use super::support::TARGET;

/// How long an Alertmanager waits for the one before it in the cluster, 15 s otherwise.
const PEER_TIMEOUT: Duration = Duration::from_secs(2);

fn bind() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, port(0))).expect("bound")
}

fn agent(world: &World) -> Agent {
    Agent::start(world, &Config::new([port(0)]).on(&["lo"]))
}

/// Matches while the port has not been bound. The first scrape has to happen before that.
fn awakenings() -> String {
    format!(r#"ghostport_awakenings_total{{port="{}",cause="bind"}} == 0"#, port(0))
}

/// A replica of the example, whose Alertmanagers are here.
fn replica(world: &World, port: u16, name: &str) -> Prometheus {
    let prometheus = Prometheus::start_with(world, port, "fleet/replica.yml", |text| {
        every_second(text)
            .replace("replica: a", &format!("replica: {name}"))
            .replace("alertmanager-1.example:9093", "127.0.0.1:9093")
            .replace("alertmanager-2.example:9093", "127.0.0.1:9193")
    });
    prometheus.scrape(&[TARGET]);
    eventually("the first scrape", || (!prometheus.query(&awakenings()).is_empty()).then_some(()));
    prometheus
}

/// One of two Alertmanagers.
fn member(world: &World, port: u16, listens: u16, peer: u16) -> Alertmanager {
    let arguments = [
        format!("--cluster.listen-address=127.0.0.1:{listens}"),
        // It would be found by the interfaces of the host, of which this one has none.
        format!("--cluster.advertise-address=127.0.0.1:{listens}"),
        format!("--cluster.peer=127.0.0.1:{peer}"),
        format!("--cluster.peer-timeout={}s", PEER_TIMEOUT.as_secs()),
        "--cluster.settle-timeout=2s".to_owned(),
    ];
    Alertmanager::start_with(world, port, &arguments)
}

#[test]
fn replicas_notify_of_an_alert_once() {
    in_world(|world| {
        let webhook = Webhook::start();
        let members = [member(world, 9093, 9094, 9194), member(world, 9193, 9194, 9094)];
        eventually("a cluster of two", || {
            members.iter().all(|member| member.peers() == 2).then_some(())
        });
        let _agent = agent(world);
        let _replicas = [replica(world, 9090, "a"), replica(world, 9091, "b")];
        let socket = bind();
        let first = webhook.next(patience());
        for member in &members {
            eventually("the alert at both", || {
                let alerts = member.alerts();
                let mut of_bind = alerts
                    .iter()
                    .filter(|alert| alert["labels"]["alertname"] == "GhostportBindOnDormantPort");
                let alert = of_bind.next()?;
                assert!(of_bind.next().is_none(), "two alerts: {alerts:?}");
                assert_eq!(alert["labels"]["cluster"], "berlin", "{alert}");
                assert_eq!(alert["labels"].get("replica"), None, "{alert}");
                Some(())
            });
        }
        // The second replica has waited for its peer, and sent nothing.
        let others = webhook.within(2 * PEER_TIMEOUT);
        let again = others.iter().filter(|other| other.body["groupKey"] == first.body["groupKey"]);
        assert_eq!(again.count(), 0, "{first:?}\n{others:?}");
        drop(socket);
    });
}

#[test]
fn federation_has_recorded_series_without_hosts() {
    in_world(|world| {
        let _agent = agent(world);
        let below = Prometheus::start(world);
        below.scrape(&[TARGET]);
        eventually("the first scrape", || (!below.query(&awakenings()).is_empty()).then_some(()));
        let above = Prometheus::start_with(world, 9091, "fleet/federation.yml", |text| {
            every_second(text)
                .replace("prometheus-berlin.example:9090", "127.0.0.1:9090")
                .replace("prometheus-osaka.example:9090", "127.0.0.1:9")
        });
        let _socket = bind();
        eventually("the fleet's bind", || {
            let recorded = "job_port_result:ghostport_binds:increase5m{job=\"ghostport\"} > 0";
            (!above.query(recorded).is_empty()).then_some(())
        });
        eventually("the alert", || {
            let alert = r#"ALERTS{alertname="GhostportBindOnDormantPort"}"#;
            (!above.query(alert).is_empty()).then_some(())
        });
        let of_hosts = above.query(r#"{__name__=~"ghostport_.+|instance_.+"}"#);
        assert!(of_hosts.is_empty(), "{of_hosts:?}");
        let series = above.query(r#"count({__name__=~"job.*:ghostport_.+"})"#);
        let series: f64 = series[0]["value"][1].as_str().expect("a number").parse().expect("one");
        // docs/fleet.md says some 25 for each port; this agent watches two, and has hooks besides.
        assert!((40.0..70.0).contains(&series), "{series}");
    });
}

#[test]
fn rules_work_with_remote_write() {
    in_world(|world| {
        let database = VictoriaMetrics::start(world);
        let alertmanager = Alertmanager::start(world);
        let _agent = agent(world);
        let sender = Prometheus::start_with(world, 9091, "fleet/remote-write.yml", every_second);
        sender.scrape(&[TARGET]);
        let rules = world.path("prometheus-9091");
        let vmalert = Vmalert::start(world, &rules);
        eventually("the first samples", || {
            let series = database.query(&awakenings());
            let labels = &series.first()?["metric"];
            assert_eq!((&labels["cluster"], &labels["replica"]), (&"berlin".into(), &"a".into()));
            Some(())
        });
        let _socket = bind();
        eventually("the alert", || {
            let alerts = alertmanager.alerts();
            let named = |alert: &&serde_json::Value| {
                alert["labels"]["alertname"] == "GhostportBindOnDormantPort"
            };
            alerts.iter().find(named).map(drop)
        });
        eventually("what is recorded", || {
            let recorded = "job_port_result:ghostport_binds:increase5m > 0";
            (!database.query(recorded).is_empty()).then_some(())
        });
        // The alert is kept by what is known of itself, to which a ruler adds labels of its own.
        eventually("the alert in the database", || {
            let alert = r#"ALERTS{alertname="GhostportBindOnDormantPort",alertstate="firing"}"#;
            (!database.query(alert).is_empty()).then_some(())
        });
        thread::sleep(Duration::from_secs(2));
        assert_eq!(vmalert.errors(), Vec::<String>::new());
        let others =
            database.query(r#"{__name__!~"ghostport_.+|.+:ghostport_.+|process_.+|up|ALERTS.*"}"#);
        assert!(others.is_empty(), "{others:?}");
    });
}
