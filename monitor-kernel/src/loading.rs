//! Loading the object beside the pins that an earlier agent left.

use std::{fs, os::unix::fs::MetadataExt as _, thread};

use anyhow::{Context as _, Result};
use aya::{Ebpf, EbpfLoader};

use crate::{
    btf::KernelTypes,
    capture_watch, clock, holders, limits, links,
    object::{self, Settings},
    pinned_maps,
    pins::{PinDir, Pins},
    programs,
};

/// The marker of the counters' epoch; the name is part of the layout of the pins.
const EPOCH: &str = "life";

/// The id of the counters, and whether they existed: a marker is created and removed with them.
pub fn counter_epoch(pins: Option<&Pins>) -> Result<(String, bool)> {
    if let Some(id) = pins.and_then(|pins| pins.marker(EPOCH)) {
        return Ok((id, true));
    }
    // No two agents start in one nanosecond.
    let id = clock::boottime_ns().to_string();
    if let Some(pins) = pins {
        pins.exchange_marker(EPOCH, &id)?;
    }
    Ok((id, false))
}

/// Reads the kernel's BTF, while aya's loader does the same, which takes longer. The thread has ended
/// when this returns.
pub fn read_types() -> (KernelTypes, EbpfLoader<'static>) {
    let read = || {
        let functions: Vec<&str> = programs::traced_functions()
            .chain([holders::FUNCTION])
            .chain(capture_watch::functions())
            .collect();
        KernelTypes::of_running_kernel(&functions)
    };
    thread::scope(|scope| {
        let reader = thread::Builder::new().spawn_scoped(scope, read);
        let loader = object::loader();
        let types = reader.ok().and_then(|reader| reader.join().ok());
        (types.unwrap_or_else(read), loader)
    })
}

/// Loads the object with the pinned maps of an earlier agent that fit it.
pub fn load_object(
    loader: EbpfLoader<'static>,
    settings: &Settings,
    pins: Option<&Pins>,
) -> Result<Ebpf> {
    if let Some(pins) = pins {
        drop_unusable(pins, settings)?;
    }
    let limit = limits::of_maps();
    object::load(loader, settings, pins)
        .with_context(|| limits::explain("cannot load the maps", limit))
}

/// Removes pins that this agent cannot use: maps of another layout or of another network namespace,
/// and links of other programs.
fn drop_unusable(pins: &Pins, settings: &Settings) -> Result<()> {
    let netns = fs::metadata("/proc/self/ns/net").context("cannot determine the namespace")?;
    let same_layout = pins.exchange_marker("layout", &settings.layout(netns.ino()))?;
    let same_object = pins.exchange_marker("object", &settings.object())?;
    if !(same_layout && same_object) {
        links::remove_all(pins)?;
    }
    // Another layout has other maps altogether.
    let has_lost_slots = same_layout && pinned_maps::drop_unusable(pins)?;
    if !same_layout || has_lost_slots {
        for room in [PinDir::Maps, PinDir::Counters, PinDir::Sockets] {
            pins.clear(room)?;
        }
        pins.remove_marker(EPOCH)?;
    }
    Ok(())
}
