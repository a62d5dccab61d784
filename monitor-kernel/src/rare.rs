//! The counters of UDP-Lite and SCTP, which exist from their first packet or socket call on.

use aya::maps::{HashMap, MapData, MapError};
use monitor_common::{
    flow::Protocol,
    rare::{RareCounters, RareKey, RareSocketCounters},
};

use super::map_error::{CountersError, take};
use crate::{
    snapshot::{MapUsage, PortRareSockets, PortRareTraffic},
    topology::Role,
};

type Result<T> = std::result::Result<T, CountersError>;

/// [`RareKey`] in words.
type Key = [u32; size_of::<RareKey>() / size_of::<u32>()];
/// [`RareCounters`] in words.
type TrafficWords = [u64; size_of::<RareCounters>() / size_of::<u64>()];
/// [`RareSocketCounters`] in words.
type SocketWords = [u64; size_of::<RareSocketCounters>() / size_of::<u64>()];

/// Both maps.
pub struct RareMaps {
    traffic: HashMap<MapData, Key, TrafficWords>,
    sockets: HashMap<MapData, Key, SocketWords>,
}

impl RareMaps {
    /// Takes the maps of a loaded object.
    pub fn open(object: &mut aya::Ebpf) -> Result<Self> {
        Ok(Self {
            traffic: HashMap::try_from(take(object, "RARE_TRAFFIC")?)?,
            sockets: HashMap::try_from(take(object, "RARE_SOCKETS")?)?,
        })
    }

    /// Packets, in the order of interfaces, ports and protocols. The interfaces have no names and roles
    /// yet.
    pub fn traffic(&self) -> Result<Vec<PortRareTraffic>> {
        let mut rows = Vec::new();
        for row in self.traffic.iter() {
            let (key, words) = row?;
            let (RareKey { interface, port, .. }, protocol) = decoded(key);
            let Some(protocol) = protocol else { continue };
            rows.push(PortRareTraffic {
                interface_index: interface,
                interface: String::new(),
                role: Role::default(),
                port,
                protocol,
                counters: bytemuck::cast(words),
            });
        }
        rows.sort_unstable_by_key(|row| (row.interface_index, row.port, row.protocol));
        Ok(rows)
    }

    /// Socket calls, in the order of ports and protocols.
    pub fn sockets(&self) -> Result<Vec<PortRareSockets>> {
        let mut rows = Vec::new();
        for row in self.sockets.iter() {
            let (key, words) = row?;
            let (RareKey { port, .. }, protocol) = decoded(key);
            let Some(protocol) = protocol else { continue };
            rows.push(PortRareSockets { port, protocol, counters: bytemuck::cast(words) });
        }
        rows.sort_unstable_by_key(|row| (row.port, row.protocol));
        Ok(rows)
    }

    /// Frees the counters of an interface.
    pub fn remove_interface(&mut self, ifindex: u32) -> Result<()> {
        let keys: Vec<Key> = self.traffic.keys().collect::<std::result::Result<_, _>>()?;
        for key in keys.into_iter().filter(|key| decoded(*key).0.interface == ifindex) {
            match self.traffic.remove(&key) {
                Err(MapError::KeyNotFound) | Ok(()) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Fill and size.
    pub fn usage(&self) -> Vec<MapUsage> {
        let usage = |map: &str, entries: usize, capacity: u32, value: usize| MapUsage {
            map: map.to_owned(),
            entries: entries as u64,
            capacity: u64::from(capacity),
            bytes: (entries * (ELEMENT_LEN + size_of::<RareKey>() + value)) as u64,
        };
        vec![
            usage(
                "RARE_TRAFFIC",
                self.traffic.keys().count(),
                monitor_common::limits::RARE_TRAFFIC,
                size_of::<RareCounters>(),
            ),
            usage(
                "RARE_SOCKETS",
                self.sockets.keys().count(),
                monitor_common::limits::RARE_SOCKETS,
                size_of::<RareSocketCounters>(),
            ),
        ]
    }
}

/// `struct htab_elem` without key and value, and its bucket (`kernel/bpf/hashtab.c`).
const ELEMENT_LEN: usize = 48 + 16;

fn decoded(key: Key) -> (RareKey, Option<Protocol>) {
    let key: RareKey = bytemuck::cast(key);
    (key, Protocol::from_ip_number(key.protocol))
}
