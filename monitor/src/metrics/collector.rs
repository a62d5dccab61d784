//! From a snapshot of the kernel side to the text exposition. Pure: what it is given is all it
//! knows.

use anyhow::Result;
use monitor_common::{
    errors::KernelError,
    flow::{Direction, PortCounters, Protocol, Side},
    packet::Unclassified,
    socket_event::{BindResult, SocketCounters},
};
use prometheus::{
    TextEncoder,
    proto::{Counter, Gauge, LabelPair, MetricFamily, MetricType},
};

use super::{
    AgentStatus, ProcessFacts,
    names::{self, Metric},
};
use crate::{
    catalogue,
    snapshot::{PortSockets, PortTraffic, Snapshot},
};

/// With more watched ports than this, series of a port that never saw anything are left out.
pub const MAX_PREINITIALISED_PORTS: usize = 64;

/// The exposition in the text format, version 0.0.4.
pub fn render(
    snapshot: &Snapshot,
    status: &AgentStatus,
    process: Option<&ProcessFacts>,
) -> Result<String> {
    let families = families(snapshot, status, process);
    Ok(TextEncoder::new().encode_to_string(&families)?)
}

/// All families that have a series.
fn families(
    snapshot: &Snapshot,
    status: &AgentStatus,
    process: Option<&ProcessFacts>,
) -> Vec<MetricFamily> {
    let mut families = traffic(snapshot);
    families.push(unclassified(snapshot));
    families.extend(sockets(snapshot));
    families.push(port_info(snapshot));
    families.push(hooks(snapshot));
    families.extend(losses(snapshot, status));
    families.extend(maps(snapshot));
    families.extend(agent(snapshot, status));
    families.extend(process.map(process_families).into_iter().flatten());
    let mut families: Vec<MetricFamily> = families.into_iter().filter_map(Family::finish).collect();
    families.sort_by(|a, b| a.name().cmp(b.name()));
    families
}

/// A family that is being filled.
struct Family {
    metric: &'static Metric,
    series: Vec<prometheus::proto::Metric>,
}

impl Family {
    fn new(metric: &'static Metric) -> Self {
        Self { metric, series: Vec::new() }
    }

    fn of_one(metric: &'static Metric, value: f64) -> Self {
        let mut family = Self::new(metric);
        family.add(&[], value);
        family
    }

    /// Adds a series; the values are those of the declared labels, in their order.
    fn add(&mut self, values: &[&str], value: f64) {
        debug_assert_eq!(values.len(), self.metric.labels.len(), "{}", self.metric.name);
        let labels = self.metric.labels.iter().zip(values).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        let mut series = prometheus::proto::Metric::from_label(labels.collect());
        match self.metric.kind {
            MetricType::COUNTER => {
                let mut counter = Counter::default();
                counter.set_value(value);
                series.set_counter(counter);
            }
            _ => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                series.set_gauge(gauge);
            }
        }
        self.series.push(series);
    }

    /// The encoder refuses a family without series.
    fn finish(self) -> Option<MetricFamily> {
        if self.series.is_empty() {
            return None;
        }
        let mut family = MetricFamily::default();
        family.set_name(self.metric.name.to_owned());
        family.set_help(self.metric.help.to_owned());
        family.set_field_type(self.metric.kind);
        family.set_metric(self.series);
        Some(family)
    }
}

fn traffic(snapshot: &Snapshot) -> Vec<Family> {
    let mut packets = Family::new(&names::PACKETS);
    let mut bytes = Family::new(&names::BYTES);
    let mut attempts = Family::new(&names::CONNECTION_ATTEMPTS);
    let quiet_too = snapshot.sockets.len() <= MAX_PREINITIALISED_PORTS;
    let shown = |row: &&PortTraffic| quiet_too || row.counters != PortCounters::default();
    for row in snapshot.traffic.iter().filter(shown) {
        let port = row.port.to_string();
        for direction in Direction::ALL {
            for side in Side::ALL {
                for protocol in Protocol::ALL {
                    let labels =
                        [&row.interface, &port, protocol.name(), direction.name(), side.name()];
                    let traffic = row.counters.traffic(protocol, direction, side);
                    packets.add(&labels, traffic.packets as f64);
                    bytes.add(&labels, traffic.bytes as f64);
                }
                let count = row.counters.connection_attempts[direction as usize][side as usize];
                if count > 0 || is_usual_attempt(direction, side) {
                    let labels = [&row.interface, &port, direction.name(), side.name()];
                    attempts.add(&labels, count as f64);
                }
            }
        }
    }
    vec![packets, bytes, attempts]
}

/// Somebody connects to the port here, or this host to the port elsewhere. The other two take a
/// client that calls from a watched port: they appear when that happens.
fn is_usual_attempt(direction: Direction, side: Side) -> bool {
    matches!(
        (direction, side),
        (Direction::Ingress, Side::Local) | (Direction::Egress, Side::Remote)
    )
}

fn unclassified(snapshot: &Snapshot) -> Family {
    let mut family = Family::new(&names::UNCLASSIFIED_PACKETS);
    for row in &snapshot.unclassified {
        for direction in Direction::ALL {
            for cause in Unclassified::ALL {
                let count = row.counters.packets(direction, cause);
                family.add(&[&row.interface, direction.name(), cause.name()], count as f64);
            }
        }
    }
    family
}

fn sockets(snapshot: &Snapshot) -> Vec<Family> {
    let mut binds = Family::new(&names::BINDS);
    let mut listens = Family::new(&names::LISTENS);
    let mut closes = Family::new(&names::CLOSES);
    let quiet_too = snapshot.sockets.len() <= MAX_PREINITIALISED_PORTS;
    let shown = |row: &&PortSockets| quiet_too || row.counters != SocketCounters::default();
    for row in snapshot.sockets.iter().filter(shown) {
        let port = row.port.to_string();
        listens.add(&[&port], row.counters.listens as f64);
        for protocol in Protocol::ALL {
            let closed = row.counters.closes[protocol as usize];
            closes.add(&[&port, protocol.name()], closed as f64);
            for result in BindResult::ALL {
                let count = row.counters.binds[protocol as usize][result as usize];
                binds.add(&[&port, protocol.name(), result.name()], count as f64);
            }
        }
    }
    vec![binds, listens, closes]
}

fn port_info(snapshot: &Snapshot) -> Family {
    let mut family = Family::new(&names::PORT_INFO);
    for row in &snapshot.sockets {
        if let Some(service) = catalogue::lookup(row.port) {
            let port = row.port.to_string();
            family.add(&[&port, service.name, service.description], 1.0);
        }
    }
    family
}

fn hooks(snapshot: &Snapshot) -> Family {
    let mut family = Family::new(&names::HOOK_ATTACHED);
    for status in &snapshot.hooks {
        let interface = status.interface.as_deref().unwrap_or_default();
        let (mechanism, value) =
            status.attached.map_or(("none", 0.0), |mechanism| (mechanism.name(), 1.0));
        family.add(&[status.hook.name(), mechanism, interface], value);
    }
    family
}

/// The ring's losses are kernel errors too; both families tell them, each in its own terms.
fn losses(snapshot: &Snapshot, status: &AgentStatus) -> Vec<Family> {
    let mut events = Family::new(&names::EVENTS_LOST);
    let ring = snapshot.kernel_errors[KernelError::RingFull as usize];
    for (stage, count) in
        [("ring", ring), ("queue", status.losses.queue), ("sink", status.losses.sink)]
    {
        events.add(&[stage], count as f64);
    }
    let mut errors = Family::new(&names::KERNEL_ERRORS);
    for cause in KernelError::ALL {
        errors.add(&[cause.name()], snapshot.kernel_errors[cause as usize] as f64);
    }
    vec![events, errors]
}

fn maps(snapshot: &Snapshot) -> Vec<Family> {
    let mut entries = Family::new(&names::MAP_ENTRIES);
    let mut capacity = Family::new(&names::MAP_CAPACITY);
    for usage in &snapshot.maps {
        entries.add(&[&usage.map], usage.entries as f64);
        capacity.add(&[&usage.map], usage.capacity as f64);
    }
    vec![entries, capacity]
}

fn agent(snapshot: &Snapshot, status: &AgentStatus) -> Vec<Family> {
    let mut build = Family::new(&names::BUILD_INFO);
    build.add(&[status.build.version, status.build.revision, &status.build.kernel], 1.0);
    vec![
        build,
        Family::of_one(&names::CONFIG_RELOAD_SUCCESS, f64::from(u8::from(status.reload_succeeded))),
        Family::of_one(
            &names::CONFIG_RELOAD_TIMESTAMP,
            status.reloaded_at.as_millisecond() as f64 / 1e3,
        ),
        Family::of_one(
            &names::UNMATCHED_INTERFACE_PATTERNS,
            snapshot.unmatched_interface_patterns as f64,
        ),
    ]
}

fn process_families(process: &ProcessFacts) -> Vec<Family> {
    vec![
        Family::of_one(&names::PROCESS_CPU_SECONDS, process.cpu_seconds),
        Family::of_one(&names::PROCESS_OPEN_FDS, process.open_fds),
        Family::of_one(&names::PROCESS_MAX_FDS, process.max_fds),
        Family::of_one(&names::PROCESS_VIRTUAL_MEMORY, process.virtual_memory_bytes),
        Family::of_one(&names::PROCESS_RESIDENT_MEMORY, process.resident_memory_bytes),
        Family::of_one(&names::PROCESS_START_TIME, process.start_time_seconds),
    ]
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use jiff::Timestamp;
    use monitor_common::flow::UnclassifiedCounters;

    use super::*;
    use crate::{
        config::DEFAULT_PORTS,
        kernel::hooks::{Hook, HookMechanism, HookStatus},
        metrics::BuildInfo,
        snapshot::{MapUsage, UnclassifiedTraffic},
    };

    fn snapshot(interfaces: &[&str], ports: &[u16]) -> Snapshot {
        let hook = |hook, interface: Option<&str>, attached| HookStatus {
            hook,
            interface: interface.map(str::to_owned),
            attached,
            adopted: false,
            passed_over: Vec::new(),
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
            traffic: interfaces
                .iter()
                .flat_map(|interface| {
                    ports.iter().map(|port| PortTraffic {
                        interface: (*interface).to_owned(),
                        port: *port,
                        counters: PortCounters::default(),
                    })
                })
                .collect(),
            unclassified: interfaces
                .iter()
                .map(|interface| UnclassifiedTraffic {
                    interface: (*interface).to_owned(),
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

    fn series(text: &str) -> Vec<&str> {
        text.lines().filter(|line| !line.starts_with('#')).collect()
    }

    #[test]
    fn everything_is_there_at_zero() {
        let text = render(&snapshot(&["lo"], &[2948]), &status(), None).unwrap();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn five_ports_on_two_interfaces_leave_room_for_later_families() {
        let process = ProcessFacts::default();
        let snapshot = snapshot(&["lo", "eth0"], &DEFAULT_PORTS);
        let text = render(&snapshot, &status(), Some(&process)).unwrap();
        let count = series(&text).len();
        assert!(count <= 350, "{count} series");
    }

    #[test]
    fn many_ports_show_only_what_was_seen() {
        let ports: Vec<u16> = (1..=65535).collect();
        let mut snapshot = snapshot(&["lo"], &ports);
        snapshot.traffic[41].counters.traffic[1][0][0].packets = 3;
        snapshot.sockets[6].counters.listens = 1;
        let text = render(&snapshot, &status(), None).unwrap();
        let shown: Vec<&str> = series(&text).into_iter().filter(|l| l.contains("port=")).collect();
        let of_port = |port: &str| shown.iter().filter(|l| l.contains(port)).count();
        assert_eq!(of_port(r#"port="42""#), 18, "sixteen of packets and bytes, two of attempts");
        assert_eq!(of_port(r#"port="7""#), 11, "eight of binds, one of listens, two of closes");
        let one = format!(r#"{}{{port="7"}} 1"#, names::LISTENS.name);
        assert!(shown.contains(&one.as_str()), "{one}");
        assert!(!text.contains(r#"port="43""#));
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
}
