//! Selftests: what the agent assigns to the command, what it reports, and the result of the last one of
//! this boot, in a file that the agent reads at each scrape. The agent writes it, or, where none runs,
//! the command does.

use std::{fs, io, net::IpAddr, path::Path};

use jiff::Timestamp;
use monitor_kernel::{
    hooks::{Hook, HookMechanism},
    own_folder::OwnFolder,
};
use serde::{Deserialize, Serialize};

/// Folder of the agent, on a file system that is empty after a boot.
pub const FOLDER: &str = "/run/ghostport";

/// Name of the file in [`FOLDER`].
const FILE: &str = "selftest.json";

const SCHEMA: &str = "ghostport.selftest/1";

/// The answer of `POST /api/v1/selftest`: where the client is to bind its sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// An address of the loopback network, chosen by chance.
    pub address: IpAddr,
    /// A watched port that no socket holds, if there is one.
    pub port: u16,
    /// Inode of the network namespace whose packets the agent counts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub netns_inode: Option<u32>,
}

/// The answer of `POST /api/v1/selftest/result`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelftestReport {
    /// Whether everything was seen and the event was delivered.
    pub success: bool,
    /// The watched port.
    pub port: u16,
    /// The hooks that were tested.
    pub hooks: Vec<HookResult>,
    /// Whether the event of the selftest arrived at a subscriber of the agent's events.
    pub event_delivered: bool,
}

/// Whether a hook has seen its part of a selftest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookResult {
    /// The hook.
    pub hook: Hook,
    /// By what it is served; absent if it is not attached.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mechanism: Option<HookMechanism>,
    /// Whether what it must have seen was reported.
    pub seen: bool,
}

impl SelftestReport {
    /// Which hooks failed, in words; `None` if none did.
    pub fn failure(&self) -> Option<String> {
        let failed = self.hooks.iter().filter(|result| !result.seen);
        let failed: Vec<String> = failed
            .map(|result| match result.mechanism {
                Some(mechanism) => format!("{} by {mechanism}", result.hook),
                None => format!("{}, which is not attached", result.hook),
            })
            .collect();
        (!failed.is_empty()).then(|| format!("not seen: {}", failed.join("; ")))
    }
}

/// The result of a selftest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelftestResult {
    schema: String,
    /// Whether everything was seen.
    pub success: bool,
    /// When it ended.
    pub time: Timestamp,
}

impl SelftestResult {
    /// The result of a selftest that ended at `time`.
    pub fn new(success: bool, time: Timestamp) -> Self {
        Self { schema: SCHEMA.to_owned(), success, time }
    }

    /// The result of the last selftest; `None` without one, and of a file in another format.
    pub fn read(folder: &Path) -> Option<Self> {
        let result: Self = serde_json::from_slice(&fs::read(folder.join(FILE)).ok()?).ok()?;
        (result.schema == SCHEMA).then_some(result)
    }

    /// Replaces the file atomically. The folder may belong to the user of an agent that is not root's.
    ///
    /// # Errors
    /// The folder or the file cannot be created, written or renamed.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let folder = OwnFolder::open_or_make(folder, 0o755)?;
        folder.replace(FILE, &serde_json::to_vec(self)?, 0o644)
    }
}

#[cfg(test)]
mod tests {
    use std::{env, os::unix::fs::symlink, process};

    use super::*;

    #[test]
    fn reads_back_the_last_result_and_follows_no_link() {
        let folder = env::temp_dir().join(format!("ghostport-selftest-{}", process::id()));
        assert_eq!(SelftestResult::read(&folder), None);
        for success in [true, false] {
            let result = SelftestResult::new(success, Timestamp::UNIX_EPOCH);
            result.write(&folder).expect("written");
            assert_eq!(SelftestResult::read(&folder), Some(result));
        }
        let elsewhere = folder.join("elsewhere");
        fs::write(&elsewhere, "precious").expect("written");
        fs::remove_file(folder.join(FILE)).expect("removed");
        symlink(&elsewhere, folder.join(FILE)).expect("a link");
        SelftestResult::new(true, Timestamp::UNIX_EPOCH).write(&folder).expect("written");
        assert_eq!(fs::read(&elsewhere).expect("read"), b"precious");
        fs::write(folder.join(FILE), "{}").expect("written");
        assert_eq!(SelftestResult::read(&folder), None, "something else");
        fs::remove_dir_all(&folder).expect("removed");
    }
}
