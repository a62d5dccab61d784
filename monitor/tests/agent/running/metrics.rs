//! The first scrape.

use std::{collections::BTreeSet, fs, process::Stdio};

use testkit::{
    agent::{Agent, Config, LISTEN, ghostport},
    eventually,
    frames::plain_udp,
    metrics::Metrics,
    sh,
    wire::Wire,
    world::{Peer, World, in_world, port},
};

use super::support::{bind_watched, watched};

/// An agent with a file that says nothing: the defaults.
#[test]
fn watches_the_five_ports_of_the_defaults() {
    in_world(|world| {
        let metrics = first_scrape(world, "");
        let labels = metrics.series.iter().filter_map(|(_, labels, _)| labels.get("port"));
        let ports: BTreeSet<&str> = labels.map(String::as_str).collect();
        assert_eq!(ports, ["2923", "2948", "2949", "3716", "3717"].into());
        for port in ports {
            assert_eq!(metrics.value("ghostport_port_info", &[("port", port)]), 1.0, "{port}");
        }
    });
}

/// All but the ports are the defaults: a program of this machine may use the default ports.
#[test]
fn every_series_is_there_from_the_first_scrape() {
    const PROTOCOLS: [&str; 2] = ["tcp", "udp"];
    const DIRECTIONS: [&str; 2] = ["ingress", "egress"];
    let [ingress, local] = [("direction", "ingress"), ("side", "local")];
    in_world(|world| {
        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        let ports: [u16; 5] = std::array::from_fn(|offset| port(offset as u16));
        let config = format!("ports: {ports:?}\ninterfaces: {{include: ['*', gp0]}}");
        let metrics = first_scrape(world, &config);
        let ports = ports.map(|port| port.to_string());
        let of_ports =
            metrics.series.iter().filter(|(_, labels, _)| labels.contains_key("port")).count();
        assert!(of_ports <= 300, "{of_ports} series of ports");
        assert!(metrics.series.len() <= 320, "{} series", metrics.series.len());
        let zero = |name: &str, labels: &[(&str, &str)]| {
            assert_eq!(metrics.value(name, labels), 0.0, "{name}{labels:?}");
        };
        for port in ports.each_ref().map(|port| ("port", port.as_str())) {
            for interface in ["gp0", "lo"].map(|interface| ("interface", interface)) {
                zero("ghostport_connection_attempts_total", &[interface, port, ingress, local]);
                for protocol in PROTOCOLS.map(|protocol| ("protocol", protocol)) {
                    let labels = [interface, port, protocol, ingress, local];
                    zero("ghostport_packets_total", &labels);
                    zero("ghostport_bytes_total", &labels);
                }
            }
            for protocol in PROTOCOLS.map(|protocol| ("protocol", protocol)) {
                assert!(metrics.has("ghostport_closes_total", &[port, protocol]));
                for result in ["success", "in_use", "denied", "error"] {
                    let labels = [port, protocol, ("result", result)];
                    assert!(metrics.has("ghostport_binds_total", &labels), "{labels:?}");
                }
            }
            assert!(metrics.has("ghostport_listens_total", &[port]));
            assert_eq!(metrics.value("ghostport_dormant", &[port]), 1.0);
            for state in [
                "quiet",
                "transit",
                "probed",
                "attempted",
                "outbound",
                "bound",
                "answered",
                "served",
            ] {
                let holds = metrics.value("ghostport_port_state", &[port, ("state", state)]);
                assert_eq!(holds == 1.0, state == "quiet", "{port:?} {state}");
            }
            for cause in ["packet", "bind"] {
                for expected in ["true", "false"] {
                    let labels = [port, ("cause", cause), ("expected", expected)];
                    zero("ghostport_awakenings_total", &labels);
                }
            }
            for protocol in PROTOCOLS.map(|protocol| ("protocol", protocol)) {
                for name in [
                    "ghostport_unexpected_binds_total",
                    "ghostport_bound_sockets",
                    "ghostport_unexpected_sockets",
                    "ghostport_last_packet_timestamp_seconds",
                    "ghostport_last_bind_timestamp_seconds",
                ] {
                    zero(name, &[port, protocol]);
                }
            }
        }
        for direction in DIRECTIONS.map(|direction| ("direction", direction)) {
            for cause in ["fragment", "truncated", "extension_headers", "vlan_tags", "malformed"] {
                for interface in ["gp0", "lo"].map(|interface| ("interface", interface)) {
                    let labels = [interface, direction, ("cause", cause)];
                    zero("ghostport_unclassified_packets_total", &labels);
                }
            }
        }
        for stage in ["ring", "queue", "sink"] {
            zero("ghostport_events_lost_total", &[("stage", stage)]);
        }
        // Other traffic has series from its first packet on.
        for name in ["packets", "bytes", "connection_attempts"] {
            let name = format!("ghostport_{name}_total");
            for label in [("direction", "egress"), ("side", "remote")] {
                assert!(!metrics.has(&name, &[label]), "{name} {label:?}");
            }
        }
        assert!(metrics.has("ghostport_kernel_errors_total", &[]));
        // A preemptible kernel may miss a call of any process on the machine.
        let missed = metrics.sum("ghostport_kernel_errors_total", &[("cause", "call_missed")]);
        assert_eq!(metrics.sum("ghostport_kernel_errors_total", &[]), missed);
        for name in ["ghostport_build_info", "ghostport_config_reload_success"] {
            assert_eq!(metrics.value(name, &[]), 1.0, "{name}");
        }
        for name in ["ghostport_map_entries", "ghostport_map_capacity"] {
            assert!(metrics.has(name, &[]), "{name}");
        }
        assert!(metrics.value("ghostport_config_reload_timestamp_seconds", &[]) > 1e9);
        assert!(metrics.value("process_start_time_seconds", &[]) > 1e9);
        assert!(metrics.value("process_resident_memory_bytes", &[]) > 0.0);
        assert_described(&metrics);
    });
}

/// What an agent with this configuration, at the usual address, says at first.
/// A host with containers, each at a bridge by one end of a pair.
#[test]
fn two_hundred_containers_take_few_series() {
    const CONTAINERS: usize = 200;
    in_world(|world| {
        let pair =
            |n| format!("link add veth{n} type veth peer name eth{n}\nlink set veth{n} up\n");
        let member = |n| format!("link set veth{n} master docker0\n");
        let lines: String = (0..CONTAINERS).map(pair).chain((0..CONTAINERS).map(member)).collect();
        let path = world.path("batch");
        fs::write(&path, format!("link add docker0 type bridge\nlink set docker0 up\n{lines}"))
            .expect("written");
        sh(&format!("ip -batch {}", path.display()));
        let ports: [u16; 5] = std::array::from_fn(|offset| port(offset as u16));
        let of_containers = |metrics: &Metrics| {
            let interfaces =
                metrics.series.iter().filter_map(|(_, labels, _)| labels.get("interface"));
            interfaces.filter(|name| name.starts_with("veth") || *name == "docker0").count()
        };
        let defaults = first_scrape(world, &format!("ports: {ports:?}"));
        assert_eq!(of_containers(&defaults), 0);
        assert!(defaults.series.len() <= 320, "{} series", defaults.series.len());
        // All of them, apart from the other ends.
        let every = format!("ports: {ports:?}\ninterfaces: {{exclude: ['eth*']}}");
        let every = first_scrape(world, &every);
        assert!(of_containers(&every) >= 2 * CONTAINERS);
        assert!(every.series.len() <= 1000, "{} series", every.series.len());
    });
}

fn first_scrape(world: &World, config: &str) -> Metrics {
    let path = world.path("defaults.yaml");
    fs::write(&path, config).expect("written");
    let mut child = ghostport()
        .args(["run", "--config"])
        .arg(&path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("spawned");
    let server = ([127, 0, 0, 1], LISTEN).into();
    let response = eventually("the first scrape", || {
        testkit::http::get(server, "/readyz").ok().filter(|ready| ready.status == 200)?;
        testkit::http::get(server, "/metrics").ok()
    });
    child.kill().expect("killed");
    child.wait().expect("waited");
    assert_eq!(response.status, 200);
    let kind = response.header("content-type").expect("a content type");
    assert!(kind.starts_with("text/plain") && kind.contains("version=0.0.4"), "{kind}");
    Metrics::parse(response.body)
}

/// Every family has its HELP and TYPE, once, before its series, which stand together.
fn assert_described(metrics: &Metrics) {
    let mut families: Vec<&str> = Vec::new();
    for line in metrics.text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "HELP", name, help] => {
                assert!(!families.contains(name), "{name} twice");
                assert!(help.len() > 10, "{line}");
                families.push(name);
            }
            ["#", "TYPE", name, kind] => {
                assert_eq!(families.last(), Some(name), "TYPE without HELP");
                let is_counter = name.ends_with("_total");
                assert_eq!(*kind, if is_counter { "counter" } else { "gauge" }, "{name}");
            }
            _ => {
                let name = line.split(['{', ' ']).next().unwrap_or_default();
                assert_eq!(families.last(), Some(&name), "{line}");
            }
        }
    }
    assert!(metrics.text.ends_with('\n'));
}

/// Zeros of thousands of ports would be noise.
#[test]
fn leaves_quiet_ports_out_when_there_are_many() {
    in_world(|world| {
        let many = (0..80).map(port).chain(1000..1100);
        let agent = Agent::start(world, &Config::new(many).on(&["lo"]));
        let watched = watched().to_string();
        let on_port = [("port", watched.as_str())];
        let metrics = agent.metrics();
        for name in ["ghostport_packets_total", "ghostport_binds_total"] {
            assert!(!metrics.has(name, &on_port), "{name}");
        }
        Wire::open("lo").send(&plain_udp(port(90), port(0)));
        bind_watched();
        let metrics = agent.metrics();
        assert_eq!(metrics.sum("ghostport_packets_total", &on_port), 2);
        assert_eq!(metrics.sum("ghostport_binds_total", &on_port), 1);
        assert!(!metrics.has("ghostport_packets_total", &[("port", "1000")]));
    });
}
