//! Ports that servers want and that the kernel may give to any client: then a server cannot be started,
//! now and then.

use std::{collections::BTreeSet, fs, ops::RangeInclusive};

use super::facts::Fact;
use crate::{
    config::{Config, ListenerPorts, PortRange},
    sockets,
};

const GROUP: &str = "Ports";
const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/// The ports that Kubernetes gives to services (`--service-node-port-range`).
const NODE_PORTS: RangeInclusive<u16> = 30_000..=32_767;

/// Programs that make a host a node of Kubernetes.
const NODE_PROGRAMS: [&str; 4] = ["kubelet", "kube-proxy", "k3s-server", "k3s-agent"];

/// More ports than this are not to be reserved: clients need some.
const MOST_RESERVED: usize = 4_096;

/// What is wrong with the ports of the configuration, and with those of Kubernetes if this is a node.
pub(super) fn facts(config: &Config) -> Vec<Fact> {
    let automatic = sockets::automatic_ports();
    let reserved = parse(&fs::read_to_string(RESERVED).unwrap_or_default());
    let free = |port: &u16| automatic.contains(port) && !reserved.contains(port);
    let configured: BTreeSet<u16> = configured(config).filter(free).collect();
    let mut facts = Vec::new();
    facts.extend(fact("watched ports", "a watched port", &configured, &reserved));
    if is_node() {
        let of_services = NODE_PORTS.filter(free).collect();
        facts.extend(fact("node ports", "the port of a service", &of_services, &reserved));
    }
    facts
}

/// The watched ports, and those of `listeners.expect`.
fn configured(config: &Config) -> impl Iterator<Item = u16> {
    let of_listeners = config.listeners.expect.iter().filter_map(|entry| match entry.ports {
        ListenerPorts::All => None,
        ListenerPorts::Range(range) => Some(range.ports()),
    });
    config.port_numbers().chain(of_listeners.flatten())
}

fn fact(
    name: &'static str,
    what: &str,
    colliding: &BTreeSet<u16>,
    reserved: &BTreeSet<u16>,
) -> Option<Fact> {
    if colliding.is_empty() {
        return None;
    }
    let value = format!("{} in net.ipv4.ip_local_port_range", ranges(colliding));
    let costs = format!("the kernel may give {what} to a client, and its server cannot bind it");
    let all: BTreeSet<u16> = colliding.union(reserved).copied().collect();
    let remedy = if all.len() > MOST_RESERVED {
        "narrow net.ipv4.ip_local_port_range, or reserve the ports that servers bind".to_owned()
    } else {
        format!("sysctl -w net.ipv4.ip_local_reserved_ports={}", ranges(&all))
    };
    Some(Fact::ok(GROUP, name, value).lost(costs, remedy))
}

/// Whether this host is a node of Kubernetes.
fn is_node() -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        NODE_PROGRAMS.contains(&name.trim_end())
    })
}

/// Ports and ranges with commas between them, as `8080,9148-9150`.
fn parse(text: &str) -> BTreeSet<u16> {
    let ranges = text.trim().split(',').filter_map(|range| range.parse::<PortRange>().ok());
    ranges.flat_map(PortRange::ports).collect()
}

/// The same the other way round.
fn ranges(ports: &BTreeSet<u16>) -> String {
    let ports: Vec<u16> = ports.iter().copied().collect();
    let rows = ports.chunk_by(|one, next| one.checked_add(1) == Some(*next));
    let rows = rows.map(|row| match row {
        [first, .., last] => format!("{first}-{last}"),
        _ => row.iter().map(u16::to_string).collect(),
    });
    rows.collect::<Vec<String>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_written_as_they_are_read() {
        for text in ["8080,9148-9150", "1", "65534-65535", ""] {
            assert_eq!(ranges(&parse(text)), text);
        }
        assert_eq!(ranges(&parse("9150\n")), "9150");
    }

    #[test]
    fn the_line_keeps_what_is_reserved() {
        let fact = fact("watched ports", "a watched port", &[40_000, 40_001].into(), &[7].into());
        let fact = fact.expect("a fact");
        assert!(fact.is_lost());
        assert_eq!(
            fact.remedy.as_deref(),
            Some("sysctl -w net.ipv4.ip_local_reserved_ports=7,40000-40001")
        );
        assert!(super::fact("watched ports", "a port", &BTreeSet::new(), &[7].into()).is_none());
        let many: BTreeSet<u16> = (32_768..=60_999).collect();
        let fact = super::fact("watched ports", "a port", &many, &BTreeSet::new());
        assert!(fact.is_some_and(|fact| !fact.remedy.unwrap_or_default().contains("sysctl")));
    }
}
