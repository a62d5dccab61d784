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
    let Some(pins) = pins else { return Ok(false) };
    for filter in clsact::filters(&pins) {
        clsact::detach(&filter, Some(&pins))?;
    }
    links::remove_all(&pins)?;
    for ifindex in clsact::idle_qdiscs(&pins) {
        netlink.remove_empty_clsact(ifindex);
    }
    pins.remove_all()?;
    Record::remove(Path::new(record::FOLDER))?;
    Ok(true)
}
