//! Removing everything that agents have left in the kernel.

use std::path::Path;

use anyhow::Result;

use crate::{
    clsact,
    interfaces::Interfaces,
    links,
    pins::{self, Pins, PinsError},
    record::{self, Record},
};

/// Removes every hook, map and pin of ghostport from the kernel. Returns whether there were any.
pub fn detach_everything(netlink: &Interfaces) -> Result<bool> {
    let pins = Pins::open_existing(Path::new(pins::ROOT)).map_err(|error| match error {
        PinsError::Locked { .. } => anyhow::anyhow!("{error}: stop it first"),
        PinsError::Unusable { path, .. } if !rustix::process::geteuid().is_root() => {
            let whose = "is not for this user to remove: run it as root, or as the agent's user";
            anyhow::anyhow!("{} {whose}", path.display())
        }
        PinsError::Unusable { .. } => error.into(),
    })?;
    if pins.is_empty() {
        return Ok(false);
    }
    for pins in pins {
        for ifindex in discard(pins)? {
            netlink.remove_empty_clsact(ifindex);
        }
    }
    Record::remove(Path::new(record::FOLDER))?;
    Ok(true)
}

/// Removes the hooks, maps and pins of one folder. Returns the interfaces whose clsact qdisc its agent
/// created.
pub(crate) fn discard(pins: Pins) -> Result<Vec<u32>> {
    for filter in clsact::filters(&pins) {
        clsact::detach(&filter, Some(&pins))?;
    }
    links::remove_all(&pins)?;
    let qdiscs = clsact::idle_qdiscs(&pins);
    pins.remove_all()?;
    Ok(qdiscs)
}
