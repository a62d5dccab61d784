//! What the traffic hooks count: packets, bytes, connection attempts, remote addresses.

use std::collections::{BTreeMap, BTreeSet};

use monitor_common::{
    flow::{Direction, PortCounters, Protocol, Side, Traffic},
    packet::Unclassified,
    rare::RareCounters,
};
use monitor_kernel::{
    snapshot::{PortSources, Snapshot},
    topology::Role,
};

use super::shown::ShownPorts;
use crate::metrics::{family::Family, names};

pub(super) fn traffic(snapshot: &Snapshot, shown: &ShownPorts) -> Vec<Family> {
    let mut packets = shown.family(&names::PACKETS);
    let mut bytes = shown.family(&names::BYTES);
    let mut attempts = shown.family(&names::CONNECTION_ATTEMPTS);
    // Two interfaces can have the same name while they are renamed, and a series must be unique.
    let mut rows = BTreeMap::<(&str, Role, u16), PortCounters>::new();
    for row in snapshot.traffic.iter().filter(|row| shown.contains(row.port)) {
        add(rows.entry((&row.interface, row.role, row.port)).or_default(), &row.counters);
    }
    for ((interface, role, port), counters) in &rows {
        let role_name = role.name();
        let port = port.to_string();
        for direction in Direction::ALL {
            for side in Side::ALL {
                for protocol in Protocol::COMMON {
                    let traffic = counters.traffic(protocol, direction, side);
                    let is_shown = is_shown_at_zero(*role, direction, side);
                    if traffic == Traffic::default() && !is_shown {
                        continue;
                    }
                    let (protocol, direction, side) =
                        (protocol.name(), direction.name(), side.name());
                    let labels = [interface, role_name, &*port, protocol, direction, side];
                    packets.add(&labels, traffic.packets as f64);
                    bytes.add(&labels, traffic.bytes as f64);
                }
                let count = counters.connection_attempts[direction as usize][side as usize];
                if count == 0 && !is_shown_at_zero(*role, direction, side) {
                    continue;
                }
                let labels = [interface, role_name, &*port, direction.name(), side.name()];
                attempts.add(&labels, count as f64);
            }
        }
    }
    for ((interface, role, port, protocol), counters) in &rare_rows(snapshot, shown) {
        let port = port.to_string();
        for direction in Direction::ALL {
            for side in Side::ALL {
                let traffic = counters.traffic(direction, side);
                if traffic != Traffic::default() {
                    let (protocol, direction, side) =
                        (protocol.name(), direction.name(), side.name());
                    let labels = [interface, role.name(), &*port, protocol, direction, side];
                    packets.add(&labels, traffic.packets as f64);
                    bytes.add(&labels, traffic.bytes as f64);
                }
            }
        }
    }
    vec![packets, bytes, attempts]
}

/// Traffic of rare protocols; like the other, by the names of interfaces.
fn rare_rows<'a>(
    snapshot: &'a Snapshot,
    shown: &ShownPorts,
) -> BTreeMap<(&'a str, Role, u16, Protocol), RareCounters> {
    let mut rows = BTreeMap::<_, RareCounters>::new();
    for row in snapshot.rare_traffic.iter().filter(|row| shown.contains(row.port)) {
        let sum = rows.entry((&*row.interface, row.role, row.port, row.protocol)).or_default();
        let sums = sum.traffic.as_flattened_mut();
        for (sum, traffic) in sums.iter_mut().zip(row.counters.traffic.as_flattened()) {
            sum.packets += traffic.packets;
            sum.bytes += traffic.bytes;
        }
    }
    rows
}

/// Whether a series exists before its first packet, so that `increase()` sees the step from zero.
/// Packets to this host are what alerts ask for, on the interfaces that they sum; the other series would
/// be zeros nearly everywhere.
const fn is_shown_at_zero(role: Role, direction: Direction, side: Side) -> bool {
    matches!((role, direction, side), (Role::Edge, Direction::Ingress, Side::Local))
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
    sum.accepted += counters.accepted;
    sum.begun_datagrams += counters.begun_datagrams;
}

pub(super) fn unclassified(snapshot: &Snapshot) -> Family {
    let mut family = Family::new(&names::UNCLASSIFIED_PACKETS);
    let mut rows = BTreeMap::<&str, [[u64; Unclassified::COUNT]; 2]>::new();
    let mut edges = BTreeSet::new();
    for row in &snapshot.unclassified {
        let sums = rows.entry(&row.interface).or_default().as_flattened_mut();
        for (sum, count) in sums.iter_mut().zip(row.counters.packets.as_flattened()) {
            *sum += count;
        }
        edges.extend((row.role == Role::Edge).then_some(&*row.interface));
    }
    for (interface, packets) in rows {
        let with_zeros = edges.contains(interface);
        for direction in Direction::ALL {
            for cause in Unclassified::ALL {
                let count = packets[direction as usize][cause as usize];
                if count == 0 && !with_zeros {
                    continue;
                }
                family.add(&[interface, direction.name(), cause.name()], count as f64);
            }
        }
    }
    family
}

pub(super) fn sources(snapshot: &Snapshot, shown: &ShownPorts) -> Family {
    let mut sources = shown.family(&names::SOURCES);
    // Nearly all ports have no remote address: those series are left out.
    let is_shown = |row: &&PortSources| row.addresses > 0 && shown.contains(row.port);
    for row in snapshot.sources.iter().filter(is_shown) {
        sources.add(&[&row.port.to_string(), row.protocol.name()], row.addresses as f64);
    }
    sources
}
