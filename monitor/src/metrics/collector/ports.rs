//! What the socket hooks count and the ledger concludes, by port.

use jiff::Timestamp;
use monitor_common::{flow::Protocol, socket_event::BindResult};
use monitor_kernel::snapshot::{PortRareSockets, Snapshot};
use monitor_ledger::{Cause, PortFacts, PortState};

use super::shown::ShownPorts;
use crate::{
    catalogue,
    metrics::{facts::LedgerFacts, family::Family, names},
};

pub(super) fn sockets(snapshot: &Snapshot, shown: &ShownPorts) -> Vec<Family> {
    let mut binds = shown.family(&names::BINDS);
    let mut listens = shown.family(&names::LISTENS);
    let mut closes = shown.family(&names::CLOSES);
    for row in snapshot.sockets.iter().filter(|row| shown.contains(row.port)) {
        let port = row.port.to_string();
        let rare = snapshot.rare_sockets.iter().filter(|rare| rare.port == row.port);
        let rare_listens: u64 = rare.clone().map(|rare| rare.counters.listens).sum();
        listens.add(&[&port], (row.counters.listens + rare_listens) as f64);
        for PortRareSockets { protocol, counters, .. } in rare {
            closes.add(&[&port, protocol.name()], counters.closes as f64);
            for result in BindResult::ALL {
                let count = counters.binds[result as usize];
                binds.add(&[&port, protocol.name(), result.name()], count as f64);
            }
        }
        for protocol in Protocol::COMMON {
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

pub(super) fn states(ledger: &LedgerFacts, shown: &ShownPorts) -> Vec<Family> {
    let mut state = shown.family(&names::PORT_STATE);
    let mut dormant = Family::new(&names::DORMANT);
    let mut awakenings = shown.family(&names::AWAKENINGS);
    let mut protocols = [
        &names::UNEXPECTED_BINDS,
        &names::ANSWERS_WITHOUT_SOCKET,
        &names::BOUND_SOCKETS,
        &names::UNEXPECTED_SOCKETS,
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
            for expected in [false, true] {
                let labels = [&*port, cause.name(), if expected { "true" } else { "false" }];
                awakenings.add(&labels, facts.awakenings(cause, expected) as f64);
            }
        }
        let is_shown = |protocol: &Protocol| !protocol.is_rare() || facts.has_seen(*protocol);
        for protocol in Protocol::ALL.into_iter().filter(is_shown) {
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

/// Unexpected binds, answers without a socket, bound sockets, unexpected sockets, last packet and last
/// bind.
fn by_protocol(facts: &PortFacts, protocol: Protocol) -> [f64; 6] {
    let seconds =
        |time: Option<Timestamp>| time.map_or(0.0, |time| time.as_millisecond() as f64 / 1e3);
    [
        facts.unexpected_binds(protocol) as f64,
        facts.answers_without_socket(protocol) as f64,
        f64::from(facts.bound_sockets(protocol)),
        f64::from(facts.unexpected_sockets(protocol)),
        seconds(facts.last_packet(protocol)),
        seconds(facts.last_bind(protocol)),
    ]
}

pub(super) fn port_info(snapshot: &Snapshot, shown: &ShownPorts) -> Family {
    let mut family = Family::new(&names::PORT_INFO);
    for row in snapshot.sockets.iter().filter(|row| shown.contains(row.port)) {
        if let Some(service) = catalogue::lookup(row.port) {
            let port = row.port.to_string();
            family.add(&[&port, service.name, service.description], 1.0);
        }
    }
    family
}
