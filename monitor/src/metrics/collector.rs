//! From a snapshot of the kernel side to the text exposition. Pure: what it is given is all it
//! knows.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;
use monitor_common::{
    errors::KernelError,
    flow::{Direction, PortCounters, Protocol, Side, Traffic},
    packet::Unclassified,
    ports::PortSet,
    sample::SkipCause,
    socket_event::{BindResult, SocketCounters},
};

use super::{
    AgentStatus, LedgerFacts, ProcessFacts,
    family::Family,
    names::{self, Metric},
};
use crate::catalogue;
use monitor_kernel::snapshot::{PortSources, Snapshot};
use monitor_ledger::{Cause, PortFacts, PortState};

/// With more watched ports than this, series of a port that never saw anything are left out.
pub const MAX_PREINITIALISED_PORTS: usize = 64;

/// With more ports than this that saw something, as after a scan of tens of thousands, their series
/// at 0 are left out.
const MAX_PORTS_WITH_ZEROS: usize = 1024;

/// The exposition in the text format, version 0.0.4, family by family: of tens of thousands of
/// ports it is too much to be copied.
pub fn render(
    snapshot: &Snapshot,
    ledger: &LedgerFacts,
    status: &AgentStatus,
    process: Option<&ProcessFacts>,
) -> Result<Vec<String>> {
    let families = families(snapshot, ledger, status, process).into_iter().map(Family::finish);
    let families: Vec<Option<(&str, String)>> = families.collect::<prometheus::Result<_>>()?;
    let mut families: Vec<(&str, String)> = families.into_iter().flatten().collect();
    families.sort_unstable_by_key(|(name, _)| *name);
    Ok(families.into_iter().map(|(_, text)| text).collect())
}

/// All families.
fn families(
    snapshot: &Snapshot,
    ledger: &LedgerFacts,
    status: &AgentStatus,
    process: Option<&ProcessFacts>,
) -> Vec<Family> {
    let shown = ShownPorts::new(snapshot, ledger);
    let mut families = traffic(snapshot, &shown);
    families.push(unclassified(snapshot));
    families.extend(sockets(snapshot, &shown));
    families.extend(states(ledger, &shown));
    families.push(Family::of_one(&names::COVERAGE_GAP, ledger.coverage_gap.as_secs_f64()));
    families.push(sources(snapshot, &shown));
    families.extend(payloads(snapshot, status));
    families.push(port_info(snapshot, &shown));
    families.push(hooks(snapshot));
    families.extend(losses(snapshot, status));
    families.push(Family::of_one(&names::HOLDER_DIFFERENCES, ledger.differences as f64));
    families.extend(maps(snapshot));
    families.extend(agent(status));
    families.extend(process.map(process_families).into_iter().flatten());
    families
}

/// The ports that have series.
struct ShownPorts {
    ports: PortSet,
    /// Whether their series at 0 are exported, too.
    with_zeros: bool,
}

impl ShownPorts {
    /// All of a few ports, of many those that saw anything.
    fn new(snapshot: &Snapshot, ledger: &LedgerFacts) -> Self {
        let quiet_too = snapshot.sockets.len() <= MAX_PREINITIALISED_PORTS;
        let called = snapshot
            .sockets
            .iter()
            .filter(|row| quiet_too || row.counters != SocketCounters::default())
            .map(|row| row.port);
        let crossed = snapshot
            .traffic
            .iter()
            .filter(|row| quiet_too || row.counters != PortCounters::default())
            .map(|row| row.port);
        let known =
            ledger.ports.iter().filter(|(_, facts)| facts.has_history()).map(|(port, _)| *port);
        let ports: PortSet = called.chain(crossed).chain(known).collect();
        let count = (1..=u16::MAX).filter(|port| ports.contains(*port)).count();
        Self { ports, with_zeros: count <= MAX_PORTS_WITH_ZEROS }
    }

    fn contains(&self, port: u16) -> bool {
        self.ports.contains(port)
    }

    /// A family with a series for each of them and more.
    fn family(&self, metric: &'static Metric) -> Family {
        Family::new(metric).with_zeros(self.with_zeros)
    }
}

fn traffic(snapshot: &Snapshot, shown: &ShownPorts) -> Vec<Family> {
    let mut packets = shown.family(&names::PACKETS);
    let mut bytes = shown.family(&names::BYTES);
    let mut attempts = shown.family(&names::CONNECTION_ATTEMPTS);
    // Two interfaces have one name while they are renamed, and a series may appear only once.
    let mut rows = BTreeMap::<(&str, u16), PortCounters>::new();
    for row in snapshot.traffic.iter().filter(|row| shown.contains(row.port)) {
        add(rows.entry((&row.interface, row.port)).or_default(), &row.counters);
    }
    for ((interface, port), counters) in &rows {
        let port = port.to_string();
        for direction in Direction::ALL {
            for side in Side::ALL {
                for protocol in Protocol::ALL {
                    let labels =
                        [interface, &*port, protocol.name(), direction.name(), side.name()];
                    let traffic = counters.traffic(protocol, direction, side);
                    packets.add(&labels, traffic.packets as f64);
                    bytes.add(&labels, traffic.bytes as f64);
                }
                let count = counters.connection_attempts[direction as usize][side as usize];
                let labels = [interface, &*port, direction.name(), side.name()];
                attempts.add(&labels, count as f64);
            }
        }
    }
    vec![packets, bytes, attempts]
}

fn add(sum: &mut PortCounters, counters: &PortCounters) {
    let traffic = counters.traffic.as_flattened().as_flattened();
    let sums = sum.traffic.as_flattened_mut().as_flattened_mut();
    for (sum, Traffic { packets, bytes }) in sums.iter_mut().zip(traffic) {
        sum.packets += packets;
        sum.bytes += bytes;
    }
    let attempts = counters.connection_attempts.as_flattened();
    for (sum, count) in sum.connection_attempts.as_flattened_mut().iter_mut().zip(attempts) {
        *sum += count;
    }
}

fn unclassified(snapshot: &Snapshot) -> Family {
    let mut family = Family::new(&names::UNCLASSIFIED_PACKETS);
    let mut rows = BTreeMap::<&str, [[u64; Unclassified::COUNT]; 2]>::new();
    for row in &snapshot.unclassified {
        let sums = rows.entry(&row.interface).or_default().as_flattened_mut();
        for (sum, count) in sums.iter_mut().zip(row.counters.packets.as_flattened()) {
            *sum += count;
        }
    }
    for (interface, packets) in rows {
        for direction in Direction::ALL {
            for cause in Unclassified::ALL {
                let count = packets[direction as usize][cause as usize];
                family.add(&[interface, direction.name(), cause.name()], count as f64);
            }
        }
    }
    family
}

fn sockets(snapshot: &Snapshot, shown: &ShownPorts) -> Vec<Family> {
    let mut binds = shown.family(&names::BINDS);
    let mut listens = shown.family(&names::LISTENS);
    let mut closes = shown.family(&names::CLOSES);
    for row in snapshot.sockets.iter().filter(|row| shown.contains(row.port)) {
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

fn sources(snapshot: &Snapshot, shown: &ShownPorts) -> Family {
    let mut sources = shown.family(&names::SOURCES);
    // Nearly all ports have no remote address; their series would be many.
    let has_addresses = |row: &&PortSources| row.addresses > 0 && shown.contains(row.port);
    for row in snapshot.sources.iter().filter(has_addresses) {
        sources.add(&[&row.port.to_string(), row.protocol.name()], row.addresses as f64);
    }
    sources
}

fn payloads(snapshot: &Snapshot, status: &AgentStatus) -> [Family; 2] {
    let mut identified = Family::new(&names::PAYLOADS_IDENTIFIED);
    for (port, protocol, verdict, count) in &status.identified.rows {
        identified.add(&[&port.to_string(), protocol.name(), verdict.name()], *count as f64);
    }
    let mut skipped = Family::new(&names::PAYLOADS_SKIPPED);
    for cause in SkipCause::ALL {
        skipped.add(&[cause.name()], snapshot.skipped_samples[cause as usize] as f64);
    }
    skipped.add(&["queue_full"], status.identified.lost as f64);
    skipped.add(&["too_many_ports"], status.identified.uncounted as f64);
    [identified, skipped]
}

fn states(ledger: &LedgerFacts, shown: &ShownPorts) -> Vec<Family> {
    let mut state = shown.family(&names::PORT_STATE);
    let mut dormant = Family::new(&names::DORMANT);
    let mut awakenings = shown.family(&names::AWAKENINGS);
    let mut protocols = [
        &names::UNEXPECTED_BINDS,
        &names::BOUND_SOCKETS,
        &names::LAST_PACKET_TIMESTAMP,
        &names::LAST_BIND_TIMESTAMP,
    ]
    .map(|metric| shown.family(metric));
    for (port, facts) in ledger.ports.iter().filter(|(port, _)| shown.contains(*port)) {
        let port = port.to_string();
        for candidate in PortState::ALL {
            let holds = f64::from(u8::from(candidate == facts.state));
            state.add(&[&port, candidate.name()], holds);
        }
        dormant.add(&[&port], f64::from(u8::from(facts.is_dormant())));
        for cause in Cause::ALL {
            awakenings.add(&[&port, cause.name()], facts.awakenings(cause) as f64);
        }
        for protocol in Protocol::ALL {
            let values = by_protocol(facts, protocol);
            for (family, value) in protocols.iter_mut().zip(values) {
                family.add(&[&port, protocol.name()], value);
            }
        }
    }
    let mut families = vec![state, dormant, awakenings];
    families.extend(protocols);
    families
}

/// Unexpected binds, bound sockets, last packet and last bind.
fn by_protocol(facts: &PortFacts, protocol: Protocol) -> [f64; 4] {
    let seconds =
        |time: Option<Timestamp>| time.map_or(0.0, |time| time.as_millisecond() as f64 / 1e3);
    [
        facts.unexpected_binds(protocol) as f64,
        f64::from(facts.bound_sockets(protocol)),
        seconds(facts.last_packet(protocol)),
        seconds(facts.last_bind(protocol)),
    ]
}

fn port_info(snapshot: &Snapshot, shown: &ShownPorts) -> Family {
    let mut family = Family::new(&names::PORT_INFO);
    for row in snapshot.sockets.iter().filter(|row| shown.contains(row.port)) {
        if let Some(service) = catalogue::lookup(row.port) {
            let port = row.port.to_string();
            family.add(&[&port, service.name, service.description], 1.0);
        }
    }
    family
}

fn hooks(snapshot: &Snapshot) -> Family {
    let mut family = Family::new(&names::HOOK_ATTACHED);
    let mut rows: Vec<_> = snapshot
        .hooks
        .iter()
        .map(|status| {
            let interface = status.interface.as_deref().unwrap_or_default();
            (status.hook, interface, status.attached)
        })
        .collect();
    rows.sort_unstable();
    rows.dedup();
    for (hook, interface, mechanism) in rows {
        let (name, value) = mechanism.map_or(("none", 0.0), |mechanism| (mechanism.name(), 1.0));
        family.add(&[hook.name(), name, interface], value);
    }
    family
}

/// The ring's losses are kernel errors too; both families tell them, each in its own terms.
fn losses(snapshot: &Snapshot, status: &AgentStatus) -> Vec<Family> {
    let mut events = Family::new(&names::EVENTS_LOST);
    let ring = snapshot.kernel_errors[KernelError::RingFull as usize]
        + snapshot.skipped_samples[SkipCause::RingFull as usize];
    for (stage, count) in
        [("ring", ring), ("queue", status.losses.queue), ("sink", status.losses.sink)]
    {
        events.add(&[stage], count as f64);
    }
    let mut errors = Family::new(&names::KERNEL_ERRORS);
    for cause in KernelError::ALL {
        errors.add(&[cause.name()], snapshot.kernel_errors[cause as usize] as f64);
    }
    errors.add(&["call_missed"], snapshot.missed_calls as f64);
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

fn agent(status: &AgentStatus) -> Vec<Family> {
    let mut build = Family::new(&names::BUILD_INFO);
    build.add(&[status.build.version, status.build.revision, &status.build.kernel], 1.0);
    let selftest = status.selftest.as_ref();
    let succeeded = selftest.is_some_and(|outcome| outcome.success);
    vec![
        build,
        Family::of_one(&names::CONFIG_RELOAD_SUCCESS, f64::from(u8::from(status.reload_succeeded))),
        Family::of_one(
            &names::CONFIG_RELOAD_TIMESTAMP,
            status.reloaded_at.as_millisecond() as f64 / 1e3,
        ),
        Family::of_one(&names::SELFTEST_SUCCESS, f64::from(u8::from(succeeded))),
        Family::of_one(
            &names::SELFTEST_TIMESTAMP,
            selftest.map_or(0.0, |outcome| outcome.time.as_millisecond() as f64 / 1e3),
        ),
        Family::of_one(
            &names::UNMATCHED_INTERFACE_PATTERNS,
            status.unmatched_interface_patterns as f64,
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
mod tests {
    use std::time::Duration;

    use monitor_common::flow::UnclassifiedCounters;
    use prometheus::proto::MetricType;

    use super::*;
    use crate::{config::DEFAULT_PORTS, metrics::BuildInfo};
    use monitor_kernel::{
        hooks::{Hook, HookMechanism, HookStatus},
        snapshot::{MapUsage, PortSockets, PortTraffic, UnclassifiedTraffic},
    };
    use monitor_ledger::{ClockReading, CounterEpoch, Ledger, Start, Watched};

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
            missed_calls: 0,
            traffic: interfaces
                .iter()
                .flat_map(|interface| {
                    ports.iter().map(|port| PortTraffic {
                        interface_index: 1,
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

    /// Of ports that have just begun to be watched.
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
        render(snapshot, &ledger(snapshot), &status(), process).unwrap().concat()
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
    fn five_ports_on_two_interfaces_take_few_series() {
        let process = ProcessFacts::default();
        let snapshot = snapshot(&["lo", "eth0"], &DEFAULT_PORTS);
        let text = text(&snapshot, Some(&process));
        let all = series(&text);
        let of_ports = all.iter().filter(|line| line.contains("port=")).count();
        assert!(of_ports <= 350, "{of_ports} series of ports");
        assert!(all.len() <= 410, "{} series", all.len());
    }

    #[test]
    fn many_ports_show_only_what_was_seen() {
        let ports: Vec<u16> = (1..=65535).collect();
        let mut snapshot = snapshot(&["lo"], &ports);
        snapshot.traffic[41].counters.traffic[1][0][0].packets = 3;
        snapshot.sockets[6].counters.listens = 1;
        let text = text(&snapshot, None);
        let shown: Vec<&str> = series(&text).into_iter().filter(|l| l.contains("port=")).collect();
        let of_port = |port: &str| shown.iter().filter(|l| l.contains(port)).count();
        // Sixteen of packets and as many of bytes, and of attempts, binds, listens, closes, state and
        // name: what a port does next must not be the birth of its series.
        assert_eq!(of_port(r#"port="42""#), 49);
        assert_eq!(of_port(r#"port="7""#), 49);
        let one = format!(r#"{}{{port="7"}} 1"#, names::LISTENS.name);
        assert!(shown.contains(&one.as_str()), "{one}");
        assert!(!text.contains(r#"port="43""#));
    }

    #[test]
    fn of_a_scan_of_all_ports_only_what_is_not_zero_is_told() {
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
        // Ports that are awake have a series as well as dormant ones.
        assert_eq!(count(&format!("{}{{", names::DORMANT.name)), 65535);
        assert_eq!(count(&format!("# TYPE {} ", names::PACKETS.name)), 1);
    }

    #[test]
    fn interfaces_of_one_name_are_one() {
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
