//! The counters of the kernel side: created for the watched ports, grown without losing a count, and
//! read in place.
//!
//! An interface has a place in the flat array ([`flat`](super::flat)). What that has no room for is
//! counted in an array of the interface's own, sized for the ports; the socket counters have one. When
//! more ports are watched than fit, a larger array replaces it, and the old one stays readable: it no
//! longer changes (replacing an inner map waits for the programs that may still use the old one). A
//! total is the sum over the place and the generations. So no counter is copied while it may change,
//! and a crash between any two steps loses nothing.

use std::collections::{BTreeMap, BTreeSet};

use aya::maps::{Array, ArrayOfMaps, MapData};
use bytemuck::{Pod, Zeroable};
use monitor_common::{
    errors::KernelError,
    flow::{PortCounters, UnclassifiedCounters, slot_count},
    limits::MAX_INTERFACES,
    ports::{PortIndex, PortSet},
    socket_event::SocketCounters,
};

use super::{
    flat::FlatCounters,
    generations::{Generations, InterfaceCounters},
    map_error::{CountersError, take},
    mapped::MappedArray,
    outer_maps::OuterMaps,
    pins::{PinDir, Pins},
    sections::{PORT_INDEX, PORT_SET, PortIndices, PortSetWords},
    topology::Role,
};
use crate::snapshot::{MapUsage, PortSockets, PortTraffic, UnclassifiedTraffic};

type Result<T> = std::result::Result<T, CountersError>;

/// All counters, and the watched ports.
pub struct Counters {
    cpus: u32,
    port_set: Array<MapData, PortSetWords>,
    port_index: Array<MapData, PortIndices>,
    flat: FlatCounters,
    outer: OuterMaps,
    sockets_outer: ArrayOfMaps<MapData, MapData>,
    errors: Array<MapData, u64>,
    /// Index of every port that is watched or has been.
    indices: BTreeMap<u16, u16>,
    watched: BTreeSet<u16>,
    interfaces: BTreeMap<u32, InterfaceCounters>,
    sockets: Generations<SocketCounters>,
}

impl Counters {
    /// Takes the maps of a loaded object and the arrays that an earlier agent pinned.
    pub fn open(object: &mut aya::Ebpf, cpus: u32, pins: Option<&Pins>) -> Result<Self> {
        let port_index = Array::try_from(take(object, PORT_INDEX)?)?;
        let mut counters = Self {
            cpus,
            indices: known_indices(&port_index)?,
            port_index,
            port_set: Array::try_from(take(object, PORT_SET)?)?,
            flat: FlatCounters::open(object, cpus)?,
            outer: OuterMaps::open(object)?,
            sockets_outer: ArrayOfMaps::try_from(take(object, "SOCKET_COUNTERS")?)?,
            errors: Array::try_from(take(object, "ERRORS")?)?,
            watched: BTreeSet::new(),
            interfaces: BTreeMap::new(),
            sockets: Generations::default(),
        };
        if let Some(pins) = pins {
            counters.adopt(pins)?;
        }
        // An agent may have been killed after it took a place and before it waited.
        counters.wait_for_programs()?;
        Ok(counters)
    }

    /// Opens pinned arrays and puts the newest of each owner in force, which it is already unless
    /// an agent was killed while it grew them.
    fn adopt(&mut self, pins: &Pins) -> Result<()> {
        for name in pins.names(PinDir::Sockets) {
            if let Some(array) = open_pinned(pins, PinDir::Sockets, &name)? {
                self.sockets.adopt(array, &name);
            }
        }
        self.sockets.arrays.sort_by_key(MappedArray::len);
        if let Some(newest) = self.sockets.arrays.last() {
            self.sockets_outer.set(0, newest.map_data(), 0)?;
        }
        for name in pins.names(PinDir::Counters) {
            let Some((ifindex, generation)) = name.split_once(':') else { continue };
            let Ok(ifindex) = ifindex.parse() else { continue };
            let Some(array) = open_pinned(pins, PinDir::Counters, &name)? else { continue };
            let interface =
                self.interfaces.entry(ifindex).or_insert_with(InterfaceCounters::unnamed);
            interface.counters.adopt(array, generation);
        }
        for ifindex in self.flat.interfaces() {
            self.interfaces.entry(ifindex).or_insert_with(InterfaceCounters::unnamed);
        }
        for (ifindex, interface) in &mut self.interfaces {
            interface.counters.arrays.sort_by_key(MappedArray::len);
            if let Some(newest) = interface.counters.arrays.last() {
                self.outer.put(*ifindex, newest.map_data())?;
            }
        }
        Ok(())
    }

    /// Returns when every program has ended that runs now.
    pub fn wait_for_programs(&mut self) -> Result<()> {
        self.outer.wait_for_programs()
    }

    /// Interfaces that have counters, by index.
    pub fn interfaces(&self) -> impl Iterator<Item = u32> {
        self.interfaces.keys().copied()
    }

    /// Makes room for the counts of `ports`, on every interface that has counters and on
    /// `interfaces` (index and name). Counting continues unchanged, even if this fails: memory is
    /// allocated for everything before the first array is put in force.
    pub fn make_room<'a>(
        &mut self,
        ports: &BTreeSet<u16>,
        interfaces: impl IntoIterator<Item = (u32, &'a str)>,
        pins: Option<&Pins>,
    ) -> Result<()> {
        let indices = self.indices_with(ports);
        let room = indices.len() as u32 + 1;
        let mut names: BTreeMap<u32, String> = self
            .interfaces
            .iter()
            .map(|(ifindex, interface)| (*ifindex, interface.name.clone()))
            .collect();
        names.extend(interfaces.into_iter().map(|(ifindex, name)| (ifindex, name.to_owned())));
        let new = names.keys().copied().filter(|ifindex| !self.interfaces.contains_key(ifindex));
        let flat = self.flat.would_hold(new);
        let sockets = self.larger_sockets(room)?;
        let mut traffic = Vec::new();
        for ifindex in names.keys() {
            if flat.contains(ifindex) && room <= self.flat.port_indices() {
                continue;
            }
            traffic.extend(self.larger_interface(*ifindex, room)?.map(|array| (*ifindex, array)));
        }
        if let Some(array) = sockets {
            self.put_sockets(array, pins)?;
        }
        for ifindex in flat {
            self.put_flat(ifindex, names.get(&ifindex).cloned().unwrap_or_default())?;
        }
        for (ifindex, array) in traffic {
            let name = names.remove(&ifindex).unwrap_or_default();
            self.put_interface(ifindex, name, array, pins)?;
        }
        // A port that has an index and is not in the set is not counted.
        self.write_indices(&indices)?;
        self.indices = indices;
        Ok(())
    }

    /// Sets the watched ports. A new port has room for its counts before its first packet is
    /// recognized, and a port that stays loses no count. The last step, one system call, changes the
    /// ports: after an error the previous ports stay in force.
    pub fn watch(&mut self, ports: &BTreeSet<u16>, pins: Option<&Pins>) -> Result<()> {
        self.make_room(ports, [], pins)?;
        let set: PortSet = ports.iter().copied().collect();
        self.port_set.set(0, bytemuck::cast::<PortSet, PortSetWords>(set), 0)?;
        self.watched.clone_from(ports);
        Ok(())
    }

    /// The index of every port that has one, and new ones for the others of `ports`.
    fn indices_with(&self, ports: &BTreeSet<u16>) -> BTreeMap<u16, u16> {
        let mut indices = self.indices.clone();
        let mut next = indices.len() as u32 + 1;
        for port in ports {
            indices.entry(*port).or_insert_with(|| {
                let index = next as u16;
                next += 1;
                index
            });
        }
        indices
    }

    fn write_indices(&mut self, indices: &BTreeMap<u16, u16>) -> Result<()> {
        let mut table: Box<PortIndex> = bytemuck::zeroed_box();
        for (port, index) in indices {
            table.set(*port, *index);
        }
        let table: Box<PortIndices> = bytemuck::cast_box(table);
        // By reference: 128 KiB would take much of the stack.
        let table: &PortIndices = &table;
        Ok(self.port_index.set(0, table, 0)?)
    }

    /// Creates counters for an interface, or renames those that it has.
    pub fn add_interface(&mut self, ifindex: u32, name: &str, pins: Option<&Pins>) -> Result<()> {
        let room = self.indices.len() as u32 + 1;
        if !self.interfaces.contains_key(&ifindex)
            && !self.flat.would_hold([ifindex].into_iter()).is_empty()
        {
            self.put_flat(ifindex, name.to_owned())?;
        }
        if let Some(array) = self.larger_interface(ifindex, room)? {
            self.put_interface(ifindex, name.to_owned(), array, pins)?;
        } else if let Some(interface) = self.interfaces.get_mut(&ifindex) {
            name.clone_into(&mut interface.name);
        }
        Ok(())
    }

    /// Removes an interface and frees its counters.
    pub fn remove_interface(&mut self, ifindex: u32, pins: Option<&Pins>) -> Result<()> {
        self.interfaces.remove(&ifindex);
        self.flat.take(ifindex)?;
        self.outer.remove(ifindex)?;
        // The place can be given out again.
        self.wait_for_programs()?;
        if let Some(pins) = pins {
            let prefix = format!("{ifindex}:");
            let pinned = pins.names(PinDir::Counters);
            for name in pinned.iter().filter(|name| name.starts_with(&prefix)) {
                pins.remove(PinDir::Counters, name)?;
            }
        }
        Ok(())
    }

    /// Sets the roles of the interfaces that have counters.
    pub fn set_roles(&mut self, roles: &BTreeMap<u32, Role>) {
        for (ifindex, interface) in &mut self.interfaces {
            interface.role = roles.get(ifindex).copied().unwrap_or_default();
        }
    }

    /// An array for an interface, if it has none with room for `room` indices.
    fn larger_interface(
        &self,
        ifindex: u32,
        room: u32,
    ) -> Result<Option<MappedArray<PortCounters>>> {
        if self.flat.has(ifindex) && room <= self.flat.port_indices() {
            return Ok(None);
        }
        let none = Generations::default();
        let counters = self.interfaces.get(&ifindex).map_or(&none, |interface| &interface.counters);
        Ok(counters.larger("GHOST_TRAFFIC", room, |indices| slot_count(indices, self.cpus))?)
    }

    fn larger_sockets(&self, room: u32) -> Result<Option<MappedArray<SocketCounters>>> {
        Ok(self.sockets.larger("GHOST_SOCKETS", room, |indices| indices)?)
    }

    /// Gives an interface a place in the flat array.
    fn put_flat(&mut self, ifindex: u32, name: String) -> Result<()> {
        self.flat.give(ifindex)?;
        let interface = self.interfaces.entry(ifindex).or_insert_with(InterfaceCounters::unnamed);
        interface.name = name;
        Ok(())
    }

    fn put_interface(
        &mut self,
        ifindex: u32,
        name: String,
        array: MappedArray<PortCounters>,
        pins: Option<&Pins>,
    ) -> Result<()> {
        let generation =
            self.interfaces.get(&ifindex).map_or(0, |interface| interface.counters.last) + 1;
        let outer = &mut self.outer;
        pinned_while(pins, PinDir::Counters, &format!("{ifindex}:{generation}"), &array, || {
            outer.put(ifindex, array.map_data())
        })?;
        let interface = self.interfaces.entry(ifindex).or_insert_with(InterfaceCounters::unnamed);
        interface.name = name;
        interface.counters.push(array, generation);
        Ok(())
    }

    fn put_sockets(
        &mut self,
        array: MappedArray<SocketCounters>,
        pins: Option<&Pins>,
    ) -> Result<()> {
        let generation = self.sockets.last + 1;
        let outer = &mut self.sockets_outer;
        pinned_while(pins, PinDir::Sockets, &generation.to_string(), &array, || {
            Ok(outer.set(0, array.map_data(), 0)?)
        })?;
        self.sockets.push(array, generation);
        Ok(())
    }

    /// Traffic of every watched port on every interface.
    pub fn traffic(&self) -> Vec<PortTraffic> {
        let rows = self.interfaces.iter().flat_map(|(interface_index, interface)| {
            self.watched_indices().map(|(port, index)| PortTraffic {
                interface_index: *interface_index,
                interface: interface.name.clone(),
                role: interface.role,
                port,
                counters: self.sum(*interface_index, interface, index),
            })
        });
        rows.collect()
    }

    /// Unclassified packets of every interface.
    pub fn unclassified(&self) -> Vec<UnclassifiedTraffic> {
        let rows = self.interfaces.iter().map(|(ifindex, interface)| UnclassifiedTraffic {
            interface: interface.name.clone(),
            role: interface.role,
            counters: bytemuck::cast::<PortCounters, UnclassifiedCounters>(
                self.sum(*ifindex, interface, 0),
            ),
        });
        rows.collect()
    }

    /// Counters of a port index on an interface, wherever they are.
    fn sum(&self, ifindex: u32, interface: &InterfaceCounters, index: u16) -> PortCounters {
        let mut sum = interface.sum(index, self.cpus);
        self.flat.add_to(ifindex, index.into(), &mut sum);
        sum
    }

    /// Socket calls on every watched port.
    pub fn sockets(&self) -> Vec<PortSockets> {
        let rows = self
            .watched_indices()
            .map(|(port, index)| PortSockets { port, counters: self.sockets.sum(index.into()) });
        rows.collect()
    }

    /// Failures of the kernel side.
    pub fn kernel_errors(&self) -> Result<[u64; KernelError::COUNT]> {
        let mut counts = [0; KernelError::COUNT];
        for cause in KernelError::ALL {
            counts[cause as usize] = self.errors.get(&(cause as u32), 0)?;
        }
        Ok(counts)
    }

    /// Fill of the maps whose size depends on the watched ports.
    pub fn usage(&self) -> Vec<MapUsage> {
        let indices = self.indices.len() as u64;
        let interfaces = self.interfaces.len() as u64;
        let traffic = self.interfaces.values().map(|interface| &interface.counters);
        vec![
            MapUsage {
                map: "PORT_SET".to_owned(),
                entries: self.watched.len() as u64,
                capacity: 65536,
                bytes: size_of::<PortSet>() as u64,
            },
            MapUsage {
                map: "PORT_INDEX".to_owned(),
                entries: indices,
                capacity: 65535,
                bytes: size_of::<PortIndex>() as u64,
            },
            MapUsage {
                map: "COUNTERS".to_owned(),
                entries: interfaces,
                capacity: u64::from(MAX_INTERFACES),
                bytes: self.flat.bytes() + traffic.map(Generations::bytes).sum::<u64>(),
            },
            MapUsage {
                map: "SOCKET_COUNTERS".to_owned(),
                entries: indices,
                capacity: self.sockets.arrays.last().map_or(0, |array| u64::from(array.len()) - 1),
                bytes: self.sockets.bytes(),
            },
        ]
    }

    /// Whether `port` is watched.
    pub fn is_watched(&self, port: u16) -> bool {
        self.watched.contains(&port)
    }

    /// Every watched port and its index.
    pub fn watched_indices(&self) -> impl Iterator<Item = (u16, u16)> {
        let index = |port| self.indices.get(port).map(|index| (*port, *index));
        self.watched.iter().filter_map(index)
    }
}

/// Pins `array` and puts it in force; if that fails, removes the pin.
fn pinned_while<T: Pod + Zeroable>(
    pins: Option<&Pins>,
    room: PinDir,
    name: &str,
    array: &MappedArray<T>,
    put: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let Some(pins) = pins else { return put() };
    array.map_data().pin(pins.path(room, name))?;
    put().inspect_err(|_| {
        // The next attempt takes the same name.
        let _ = pins.remove(room, name);
    })
}

/// A pinned array; `None` for a pin of something else, which is removed.
fn open_pinned<T: Pod + Zeroable>(
    pins: &Pins,
    room: PinDir,
    name: &str,
) -> Result<Option<MappedArray<T>>> {
    match MappedArray::from_pin(&pins.path(room, name)) {
        Ok(array) => Ok(Some(array)),
        Err(error) => {
            tracing::warn!(%error, name, "a pin that is no counter array is removed");
            pins.remove(room, name)?;
            Ok(None)
        }
    }
}

/// Indices that an earlier agent assigned.
fn known_indices(map: &Array<MapData, PortIndices>) -> Result<BTreeMap<u16, u16>> {
    let table = map.get(&0, 0)?;
    let index: &PortIndex = bytemuck::cast_ref(&table);
    Ok(index.given().collect())
}
