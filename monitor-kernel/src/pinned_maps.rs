//! Whether the pinned maps that an earlier agent left are those that this one loads.

use std::path::Path;

use anyhow::{Context as _, Result};
use aya::maps::MapInfo;

use crate::{
    links, object,
    pins::{PinDir, Pins},
};

/// Removes pinned maps of another type or size than the object's.
///
/// The programs behind pinned links use the maps that were there when they were loaded: where one is
/// missing or removed, those links go as well. Without the maps that say which slot is whose, all
/// counters go. Returns whether they did.
pub(crate) fn drop_unusable(pins: &Pins) -> Result<bool> {
    if pins.names(PinDir::Maps).is_empty() {
        links::remove_all(pins)?;
        return Ok(true);
    }
    let expected = object::shared_maps().context("cannot parse the maps of the object")?;
    let (mut is_lost, mut are_slots_lost) = (false, false);
    for map in expected {
        if is_usable(&pins.path(PinDir::Maps, &map.pin), &map.definition) {
            continue;
        }
        tracing::warn!(
            map = map.name,
            "the pinned map of an earlier agent is lost or of another type"
        );
        pins.remove(PinDir::Maps, &map.pin)
            .with_context(|| format!("cannot remove the pin of {}", map.name))?;
        is_lost = true;
        are_slots_lost |= map.has_slots;
    }
    if is_lost {
        links::remove_all(pins)?;
    }
    Ok(are_slots_lost)
}

fn is_usable(pin: &Path, definition: &aya_obj::Map) -> bool {
    let Ok(found) = MapInfo::from_pin(pin) else { return false };
    found.map_type().is_ok_and(|kind| kind as u32 == definition.map_type())
        && found.key_size() == definition.key_size()
        && found.value_size() == definition.value_size()
}
