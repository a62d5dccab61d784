//! The statuses of the hooks, in a file. An agent that adopts the hooks reads from it why better
//! mechanisms were rejected, and doctor shows it for a running agent.
//!
//! Attempting the better mechanisms again would find the reasons, but could do harm: an attempt at
//! native XDP can reset the link of an interface that counts well. The file is in a folder under
//! `/run`, because a BPF filesystem holds no files, and not every host has one.

use std::{fs, io, path::Path, process};

use serde::{Deserialize, Serialize};

use super::{
    hooks::{Hook, HookMechanism, HookStatus, Rejection},
    own_folder::OwnFolder,
};

/// Folder of the agent.
pub const FOLDER: &str = "/run/ghostport";

/// Name of the file in it.
const FILE: &str = "hooks.json";

const SCHEMA: &str = "ghostport.hooks/1";

/// The hooks of one agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    schema: String,
    /// Id of the boot: a record is void after a reboot, even where `/run` persists.
    boot: String,
    /// The agent's process id.
    pub pid: u32,
    hooks: Vec<Entry>,
    /// Why the iterator over open files cannot run, if it cannot.
    #[serde(rename = "holders_obstacle", skip_serializing_if = "Option::is_none", default)]
    pub holders_unsupported: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// Interface, 0 where the hook has none; unlike a name, the index does not change.
    ifindex: u32,
    #[serde(flatten)]
    status: HookStatus,
}

impl Record {
    /// The hooks of this agent, and why it cannot use the iterator, if it cannot.
    pub fn new<'a>(
        hooks: impl Iterator<Item = (u32, &'a HookStatus)>,
        holders_unsupported: Option<&str>,
    ) -> Self {
        let entry =
            |(ifindex, status): (u32, &HookStatus)| Entry { ifindex, status: status.clone() };
        Self {
            schema: SCHEMA.to_owned(),
            boot: boot(),
            pid: process::id(),
            hooks: hooks.map(entry).collect(),
            holders_unsupported: holders_unsupported.map(str::to_owned),
        }
    }

    /// The record of the last agent since boot, if there is one.
    pub fn read(folder: &Path) -> Option<Self> {
        let text = fs::read(folder.join(FILE)).ok()?;
        let record: Self = serde_json::from_slice(&text).ok()?;
        (record.schema == SCHEMA && record.boot == boot()).then_some(record)
    }

    /// Writes the file atomically, readable for every user: it has hooks and reasons, and nothing
    /// that was observed.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        // Other users enter it, whatever the agent's umask is.
        let folder = OwnFolder::open_or_make(folder, 0o755)?;
        folder.take()?;
        folder.replace(FILE, &serde_json::to_vec_pretty(self)?, 0o644)
    }

    /// Removes the file, if it is there.
    pub fn remove(folder: &Path) -> io::Result<()> {
        match fs::remove_file(folder.join(FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Every hook, with the index of its interface or 0.
    pub fn statuses(&self) -> impl Iterator<Item = (u32, &HookStatus)> {
        self.hooks.iter().map(|entry| (entry.ifindex, &entry.status))
    }

    /// Why better mechanisms than `mechanism`, which serves a hook, were rejected.
    pub fn rejected(
        &self,
        hook: Hook,
        ifindex: u32,
        mechanism: HookMechanism,
    ) -> Option<&[Rejection]> {
        let entry = self.hooks.iter().find(|entry| {
            entry.ifindex == ifindex
                && entry.status.hook == hook
                && entry.status.attached == Some(mechanism)
        });
        entry.map(|entry| entry.status.rejected.as_slice())
    }
}

/// Id of this boot; empty if /proc has none.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(hook: Hook, attached: Option<HookMechanism>, interface: Option<&str>) -> HookStatus {
        let why = "the driver has no native XDP".to_owned();
        HookStatus {
            hook,
            interface: interface.map(str::to_owned),
            attached,
            adopted: false,
            rejected: vec![Rejection { mechanism: HookMechanism::XdpNative, why }],
        }
    }

    #[test]
    fn reads_what_it_wrote() {
        let folder = std::env::temp_dir().join(format!("ghostport-record-{}", process::id()));
        let ingress = status(Hook::Ingress, Some(HookMechanism::Tcx), Some("eth0"));
        let record = Record::new([(2, &ingress)].into_iter(), Some("no types"));
        record.write(&folder).expect("written");
        let read = Record::read(&folder).expect("a record");
        assert_eq!(read, record);
        let reasons = read.rejected(Hook::Ingress, 2, HookMechanism::Tcx).expect("reasons");
        assert_eq!(reasons, ingress.rejected);
        assert_eq!(read.rejected(Hook::Ingress, 3, HookMechanism::Tcx), None);
        assert_eq!(read.rejected(Hook::Ingress, 2, HookMechanism::Clsact), None);
        Record::remove(&folder).expect("removed");
        Record::remove(&folder).expect("gone already");
        assert_eq!(Record::read(&folder), None);
        fs::remove_dir(&folder).expect("an empty folder");
    }

    #[test]
    fn ignores_the_record_of_another_boot() {
        let folder = std::env::temp_dir().join(format!("ghostport-boot-{}", process::id()));
        let record = Record { boot: "another".into(), ..Record::new(std::iter::empty(), None) };
        record.write(&folder).expect("written");
        assert_eq!(Record::read(&folder), None);
        fs::remove_dir_all(&folder).expect("removed");
    }
}
