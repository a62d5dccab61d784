//! The ports whose listeners the kernel side reports.

use aya::maps::{Array, MapData};
use monitor_common::{listeners::ListenerPorts, ports::PortSet};

use crate::{
    hooks::HookMechanism,
    map_error::{CountersError, take},
    sections::{LISTENER_PORTS, ListenerWords},
};

type Result<T> = std::result::Result<T, CountersError>;

/// The map that has them.
pub struct ListenerPortsMap {
    map: Array<MapData, ListenerWords>,
    ports: Box<ListenerPorts>,
}

impl ListenerPortsMap {
    /// Takes the map of a loaded object, with the ports that an earlier agent left in it.
    pub fn open(object: &mut aya::Ebpf) -> Result<Self> {
        let map = Array::try_from(take(object, LISTENER_PORTS)?)?;
        let words: Box<ListenerWords> = Box::new(map.get(&0, 0)?);
        Ok(Self { map, ports: bytemuck::cast_box(words) })
    }

    /// Sets the ports. After an error those that were there stay in force.
    pub fn watch(&mut self, set: &PortSet) -> Result<()> {
        self.put(ListenerPorts { set: *set, ..*self.ports })
    }

    /// Has the programs of the system call look for binds on these ports, if no other program sees
    /// them: it is not free.
    pub fn binds_are_seen_by(&mut self, mechanism: Option<HookMechanism>) -> Result<()> {
        let at_return = mechanism == Some(HookMechanism::Tracepoint);
        self.put(ListenerPorts { binds_are_seen_at_return: at_return.into(), ..*self.ports })
    }

    fn put(&mut self, ports: ListenerPorts) -> Result<()> {
        if ports != *self.ports {
            let words: &ListenerWords = bytemuck::cast_ref(&ports);
            self.map.set(0, words, 0)?;
            *self.ports = ports;
        }
        Ok(())
    }
}
