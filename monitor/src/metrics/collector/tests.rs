use std::time::Duration;

use jiff::Timestamp;
use monitor_common::{
    flow::{PortCounters, Traffic, UnclassifiedCounters},
    socket_event::SocketCounters,
};
use prometheus::proto::MetricType;

use super::*;
use crate::{
    config::DEFAULT_PORTS,
    metrics::{BuildInfo, HolderInfo},
};
use monitor_kernel::{
    hooks::{Hook, HookMechanism, HookStatus},
    snapshot::{MapUsage, PortSockets, PortTraffic, UnclassifiedTraffic},
    topology::Role,
};
use monitor_ledger::{ClockReading, CounterEpoch, Ledger, Start, Watched};

fn snapshot(interfaces: &[&str], ports: &[u16]) -> Snapshot {
    let hook = |hook, interface: Option<&str>, attached| HookStatus {
        hook,
        interface: interface.map(str::to_owned),
        attached,
        adopted: false,
        rejected: Vec::new(),
    };
    let mut hooks = vec![
        hook(Hook::Bind, None, Some(HookMechanism::Fexit)),
        hook(Hook::Listen, None, Some(HookMechanism::Tracepoint)),
        hook(Hook::Close, None, None),
    ];
    for interface in interfaces {
        hooks.push(hook(Hook::Ingress, Some(interface), Some(HookMechanism::XdpNative)));
        hooks.push(hook(Hook::Egress, Some(interface), Some(HookMechanism::Tcx)));
    }
    Snapshot {
        missed_calls: 0,
        traffic: interfaces
            .iter()
            .flat_map(|interface| {
                ports.iter().map(|port| PortTraffic {
                    interface_index: 1,
                    interface: (*interface).to_owned(),
                    role: Role::Edge,
                    port: *port,
                    counters: PortCounters::default(),
                })
            })
            .collect(),
        unclassified: interfaces
            .iter()
            .map(|interface| UnclassifiedTraffic {
                interface: (*interface).to_owned(),
                role: Role::Edge,
                counters: UnclassifiedCounters::default(),
            })
            .collect(),
        sockets: ports
            .iter()
            .map(|port| PortSockets { port: *port, counters: SocketCounters::default() })
            .collect(),
        hooks,
        maps: ["PORT_SET", "PORT_INDEX", "COUNTERS", "SOCKET_COUNTERS"]
            .map(|map| MapUsage { map: map.to_owned(), entries: 5, capacity: 8, bytes: 0 })
            .to_vec(),
        ..Snapshot::default()
    }
}

fn status() -> AgentStatus {
    let build = BuildInfo { version: "1.2.3", revision: "abc", kernel: "6.18.0".to_owned() };
    AgentStatus::new(build, Timestamp::UNIX_EPOCH)
}

/// Facts of ports that are watched since just now.
fn ledger(snapshot: &Snapshot) -> LedgerFacts {
    let at = ClockReading { wall: Timestamp::UNIX_EPOCH, boottime_ns: 0 };
    let counters = CounterEpoch { id: String::new(), adopted: false };
    let mut ledger = Ledger::new(Start { at, boot_id: String::new(), counters });
    let dormant_after = Duration::from_secs(1);
    let watched = |port| Watched { port, dormant_after, has_owners: false };
    ledger.watch(snapshot.sockets.iter().map(|row| watched(row.port)), at);
    LedgerFacts::new(&ledger, 0)
}

fn text(snapshot: &Snapshot, process: Option<&ProcessFacts>) -> String {
    render(snapshot, &ledger(snapshot), &status(), process, None).unwrap().concat()
}

fn series(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#')).collect()
}

#[test]
fn everything_is_there_at_zero() {
    let text = text(&snapshot(&["lo"], &[2948]), None);
    insta::assert_snapshot!(text);
}

#[test]
fn open_metrics_says_when_counters_began() {
    let mut snapshot = snapshot(&["lo"], &[2948]);
    snapshot.traffic[0].counters.connection_attempts[0][0] = 3;
    let process = ProcessFacts { max_fds: f64::INFINITY, ..ProcessFacts::default() };
    let now = ClockReading {
        wall: Timestamp::from_second(1_000_000).unwrap(),
        boottime_ns: 5_000_000_000,
    };
    let origins = Origins::new(Some(2_000_000_000), Duration::from_secs(100), now);
    let pieces =
        render(&snapshot, &ledger(&snapshot), &status(), Some(&process), Some(&origins)).unwrap();
    insta::assert_snapshot!(pieces.concat());
}

#[test]
fn five_ports_on_two_interfaces_have_few_series() {
    let process = ProcessFacts::default();
    let snapshot = snapshot(&["lo", "eth0"], &DEFAULT_PORTS);
    let text = text(&snapshot, Some(&process));
    let all = series(&text);
    let of_ports = all.iter().filter(|line| line.contains("port=")).count();
    assert!(of_ports <= 300, "{of_ports} series of ports");
    assert!(all.len() <= 320, "{} series", all.len());
}

/// A host whose containers are all counted, each by its end of a pair on one bridge.
#[test]
fn two_hundred_containers_have_few_series() {
    let names: Vec<String> = (0..200).map(|n| format!("veth{n}")).collect();
    let mut interfaces = vec!["lo", "eth0", "docker0"];
    interfaces.extend(names.iter().map(String::as_str));
    let mut snapshot = snapshot(&interfaces, &DEFAULT_PORTS);
    for row in snapshot.traffic.iter_mut().filter(|row| row.interface.starts_with("veth")) {
        row.role = Role::Inner;
    }
    for row in snapshot.unclassified.iter_mut().filter(|row| row.interface.starts_with("veth")) {
        row.role = Role::Inner;
    }
    let text = text(&snapshot, Some(&ProcessFacts::default()));
    let all = series(&text).len();
    assert!(all <= 1000, "{all} series");
}

#[test]
fn a_series_of_an_inner_interface_appears_with_its_first_packet() {
    let mut snapshot = snapshot(&["eth0", "br0"], &[80]);
    for row in snapshot.traffic.iter_mut().filter(|row| row.interface == "eth0") {
        row.role = Role::Inner;
    }
    let inner = |snapshot: &Snapshot| {
        let text = text(snapshot, None);
        text.lines().filter(|line| line.contains(r#"role="inner""#)).count()
    };
    assert_eq!(inner(&snapshot), 0);
    snapshot.traffic[0].counters.traffic[0][0][0] = Traffic { packets: 1, bytes: 60 };
    assert_eq!(inner(&snapshot), 2, "packets and bytes");
}

#[test]
fn an_unclassified_packet_of_an_inner_interface_has_a_series() {
    let mut snapshot = snapshot(&["eth0"], &[80]);
    snapshot.unclassified[0].role = Role::Inner;
    let count = |snapshot: &Snapshot| {
        let text = text(snapshot, None);
        series(&text).iter().filter(|l| l.starts_with(names::UNCLASSIFIED_PACKETS.name)).count()
    };
    assert_eq!(count(&snapshot), 0);
    snapshot.unclassified[0].counters.packets[0][0] = 1;
    assert_eq!(count(&snapshot), 1);
}

#[test]
fn of_many_ports_only_those_with_activity_have_series() {
    let ports: Vec<u16> = (1..=65535).collect();
    let mut snapshot = snapshot(&["lo"], &ports);
    snapshot.traffic[41].counters.traffic[1][0][0].packets = 3;
    snapshot.sockets[6].counters.listens = 1;
    let text = text(&snapshot, None);
    let shown: Vec<&str> = series(&text).into_iter().filter(|l| l.contains("port=")).collect();
    let of_port = |port: &str| shown.iter().filter(|l| l.contains(port)).count();
    // All series of a port that exist at zero appear together, so that `increase()` sees their first
    // step. Port 42 has packets of an interface beside.
    assert_eq!(of_port(r#"port="42""#), of_port(r#"port="7""#));
    let one = format!(r#"{}{{port="7"}} 1"#, names::LISTENS.name);
    assert!(shown.contains(&one.as_str()), "{one}");
    assert!(!text.contains(r#"port="43""#));
}

#[test]
fn a_scan_of_all_ports_leaves_out_series_at_zero() {
    let ports: Vec<u16> = (1..=65535).collect();
    let mut snapshot = snapshot(&["lo"], &ports);
    for row in &mut snapshot.traffic {
        row.counters.traffic[0][0][0] = Traffic { packets: 1, bytes: 60 };
    }
    let text = text(&snapshot, None);
    let count = |what: &str| text.lines().filter(|line| line.starts_with(what)).count();
    assert_eq!(count(&format!("{}{{", names::PACKETS.name)), 65535);
    assert_eq!(count(&format!("{}{{", names::BINDS.name)), 0);
    assert_eq!(count(&format!("{}{{", names::PORT_STATE.name)), 65535);
    assert_eq!(count(&format!(r#"{}{{port="7",state="quiet"}} 1"#, names::PORT_STATE.name)), 1);
    // Dormancy has both values.
    assert_eq!(count(&format!("{}{{", names::DORMANT.name)), 65535);
    assert_eq!(count(&format!("# TYPE {} ", names::PACKETS.name)), 1);
}

#[test]
fn interfaces_of_the_same_name_are_summed() {
    let mut snapshot = snapshot(&["eth0", "eth0"], &[80]);
    for row in &mut snapshot.traffic {
        row.counters.traffic[0][0][0] = Traffic { packets: 1, bytes: 60 };
        row.counters.connection_attempts[0][0] = 1;
    }
    for row in &mut snapshot.unclassified {
        row.counters.packets[0][0] = 1;
    }
    let text = text(&snapshot, None);
    let mut unique = std::collections::BTreeSet::new();
    for line in series(&text) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(unique.insert(name), "{name} twice");
        if value == "2" || value == "120" {
            assert!(name.contains(r#"interface="eth0""#), "{line}");
        }
    }
    assert_eq!(text.matches("} 2\n").count(), 3, "{text}");
    assert_eq!(text.matches("} 120\n").count(), 1);
}

#[test]
fn order_does_not_depend_on_the_snapshot() {
    let snapshot = snapshot(&["lo", "eth0"], &DEFAULT_PORTS);
    let mut reversed = snapshot.clone();
    reversed.traffic.reverse();
    reversed.unclassified.reverse();
    reversed.hooks.reverse();
    assert_eq!(text(&snapshot, None), text(&reversed, None));
}

#[test]
fn holders_are_series_where_they_are_asked_for() {
    let snapshot = snapshot(&["lo"], &[2948]);
    let name = names::HOLDER_INFO.name;
    assert!(!text(&snapshot, None).contains(name));
    let holder = HolderInfo {
        port: 2948,
        protocol: "udp",
        executable: "/usr/bin/\"a\"".to_owned(),
        unit: "a.service".to_owned(),
        user: "kannel".to_owned(),
        container: String::new(),
    };
    let status = AgentStatus { holders: vec![holder], ..status() };
    let text = render(&snapshot, &ledger(&snapshot), &status, None, None).unwrap().concat();
    let labels = r#"port="2948",protocol="udp",executable="/usr/bin/\"a\"",unit="a.service""#;
    let series = format!("{name}{{{labels},user=\"kannel\",container=\"\"}} 1\n");
    assert!(text.contains(&series), "{text}");
}

#[test]
fn counters_end_in_total_and_names_are_unique() {
    let mut seen = std::collections::BTreeSet::new();
    for metric in names::ALL {
        assert!(seen.insert(metric.name), "{} twice", metric.name);
        let is_counter = metric.kind == MetricType::COUNTER;
        assert_eq!(metric.name.ends_with("_total"), is_counter, "{}", metric.name);
        assert!(metric.help.ends_with('.'), "{}", metric.name);
    }
}
