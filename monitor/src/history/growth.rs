//! From counters to what they grew by.

use std::collections::{BTreeMap, HashMap};

use monitor_common::{
    flow::{Direction, Protocol, Traffic},
    ports::PortSet,
    socket_event::BindResult,
};
use monitor_kernel::{snapshot::Snapshot, topology::Role};

use super::bucket::Growth;

/// Packets by direction.
type Packets = [u64; Direction::ALL.len()];

/// Successful and refused binds.
type Binds = [u64; 2];

/// A series of packets: an interface, a port, and the protocol where it is counted separately.
type Series = (u32, u16, Option<Protocol>);

/// The counters of the last reading. What is 0 is left out.
#[derive(Debug, Default)]
pub(super) struct LastCounters {
    /// The ports that were watched; `None` before the first reading.
    watched: Option<PortSet>,
    packets: HashMap<Series, Packets>,
    binds: HashMap<u16, Binds>,
}

impl LastCounters {
    /// What grew on each port since the last reading. The counts of the first one, and those of ports
    /// that were not watched then, are from an unknown time and left out.
    pub(super) fn advance(&mut self, now: &Snapshot) -> BTreeMap<u16, Growth> {
        let watched = now.sockets.iter().map(|row| row.port).collect();
        let before = std::mem::replace(self, Self { watched: Some(watched), ..Self::default() });
        let is_known =
            |port: u16| before.watched.as_ref().is_some_and(|ports| ports.contains(port));
        let mut grown = BTreeMap::<u16, Growth>::new();
        for (series, role, packets) in packets(now) {
            self.packets.insert(series, packets);
            // Packets that cross an inner interface cross an edge as well, where they are counted.
            if role != Role::Edge || !is_known(series.1) {
                continue;
            }
            let [ingress, egress] = growth(before.packets.get(&series), packets);
            let port = grown.entry(series.1).or_default();
            port.packets_in += ingress;
            port.packets_out += egress;
        }
        self.binds = binds(now);
        for (number, binds) in self.binds.iter().filter(|(number, _)| is_known(**number)) {
            let [successful, refused] = growth(before.binds.get(number), *binds);
            let port = grown.entry(*number).or_default();
            port.binds += successful;
            port.binds_refused += refused;
        }
        grown.retain(|_, growth| !growth.is_zero());
        grown
    }

    pub(super) fn is_watched(&self, port: u16) -> bool {
        self.watched.as_ref().is_some_and(|ports| ports.contains(port))
    }
}

/// Counters that have shrunk were reset.
fn growth<const N: usize>(before: Option<&[u64; N]>, now: [u64; N]) -> [u64; N] {
    let before = before.copied().unwrap_or([0; N]);
    std::array::from_fn(|i| now[i].checked_sub(before[i]).unwrap_or(now[i]))
}

/// The series that are not 0.
fn packets(now: &Snapshot) -> impl Iterator<Item = (Series, Role, Packets)> {
    let common = now.traffic.iter().map(|row| {
        let traffic = &row.counters.traffic;
        let packets = Direction::ALL.map(|direction| {
            traffic.iter().map(|protocol| sum(&protocol[direction as usize])).sum()
        });
        ((row.interface_index, row.port, None), row.role, packets)
    });
    let rare = now.rare_traffic.iter().map(|row| {
        let packets =
            Direction::ALL.map(|direction| sum(&row.counters.traffic[direction as usize]));
        ((row.interface_index, row.port, Some(row.protocol)), row.role, packets)
    });
    common.chain(rare).filter(|(_, _, packets)| *packets != [0; 2])
}

/// Packets of all sides.
fn sum(sides: &[Traffic]) -> u64 {
    sides.iter().map(|traffic| traffic.packets).sum()
}

/// Binds by port, where there were any.
fn binds(now: &Snapshot) -> HashMap<u16, Binds> {
    let common =
        now.sockets.iter().flat_map(|row| row.counters.binds.map(|binds| (row.port, binds)));
    let rare = now.rare_sockets.iter().map(|row| (row.port, row.counters.binds));
    let mut sums = HashMap::<u16, Binds>::new();
    for (port, binds) in common.chain(rare).filter(|(_, binds)| *binds != [0; BindResult::COUNT]) {
        let [successful, refused] = sums.entry(port).or_default();
        let all: u64 = binds.iter().sum();
        *successful += binds[BindResult::Success as usize];
        *refused += all - binds[BindResult::Success as usize];
    }
    sums
}
