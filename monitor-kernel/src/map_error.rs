//! Taking maps out of a loaded object, and the errors of working with them.

use std::io;

use aya::maps::{Map, MapError};

use super::mapped::MappedError;

/// Why a map of the object cannot be created, read or changed.
#[derive(Debug, thiserror::Error)]
pub enum CountersError {
    /// A map of the object.
    #[error(transparent)]
    Map(#[from] MapError),
    /// A counter array.
    #[error(transparent)]
    Array(#[from] MappedError),
    /// A pin.
    #[error("cannot pin a counter array: {0}")]
    Pin(#[from] aya::pin::PinError),
    /// The directory of pins.
    #[error("cannot change the pins: {0}")]
    Io(#[from] io::Error),
    /// More networks, and addresses beyond the table, than there is room for.
    #[error("{0} networks and addresses of this host do not fit into the map of prefixes")]
    TooManyPrefixes(usize),
    /// The object has no such map.
    #[error("the BPF object has no map {0}")]
    Missing(&'static str),
}

/// Takes a map out of a loaded object.
pub fn take(object: &mut aya::Ebpf, name: &'static str) -> Result<Map, CountersError> {
    object.take_map(name).ok_or(CountersError::Missing(name))
}
