//! The agent that runs on this host, seen from another process.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    process::{Pid, test_kill_process},
};

use super::{
    hooks::{Hook, HookStatus},
    interfaces::Interface,
    pin_folder,
    pinned::Pinned,
    pins::{PinDir, lock_holder},
    record::{self, Record},
};

/// A running agent, as its record and its pins show it.
#[derive(Debug)]
pub struct Running {
    root: PathBuf,
    /// Its process id, if `/proc/locks` or its record has it.
    pub pid: Option<i32>,
    /// Whether it has pins.
    pub is_pinned: bool,
    record: Option<Record>,
}

/// The running agent, if there is one: it holds the lock on the directory, or, without pins, it is
/// the process that its record names.
pub fn running(root: &Path) -> Option<Running> {
    let record = Record::read(Path::new(record::FOLDER)).filter(is_of_an_agent);
    let recorded = record.as_ref().map(|record| record.pid as i32);
    let locked = |folder: &PathBuf| {
        let directory = File::open(folder).ok()?;
        let refused = flock(&directory, FlockOperation::NonBlockingLockShared).err()?;
        let holder = (refused == Errno::WOULDBLOCK).then(|| lock_holder(&directory))?;
        // Any user may lock a folder of theirs.
        let is_agents = pin_folder::is_ours(folder) || (holder.is_some() && holder == recorded);
        is_agents.then(|| (folder.clone(), holder))
    };
    let (root, pid, is_pinned) = match pin_folder::candidates(root).iter().find_map(locked) {
        Some((folder, holder)) => (folder, holder.or(recorded), true),
        None => (root.to_path_buf(), Some(recorded?), false),
    };
    let record = record.filter(|_| pid == recorded);
    Some(Running { root, pid, is_pinned, record })
}

/// Whether the process that wrote a record still runs this program. Every user can read its name,
/// but not its executable. A process that `/proc` hides (`hidepid`) answers a signal all the same: it
/// is refused.
fn is_of_an_agent(record: &Record) -> bool {
    let name = |process: &str| fs::read(format!("/proc/{process}/comm")).ok();
    let is_hidden = || {
        let pid = Pid::from_raw(record.pid.cast_signed());
        pid.is_some_and(|pid| test_kill_process(pid) == Err(Errno::PERM))
    };
    record.pid != std::process::id()
        && match name(&record.pid.to_string()) {
            Some(found) => Some(found) == name("self"),
            None => is_hidden(),
        }
}

impl Running {
    /// Its hooks, by its record; a hook that the kernel has not attached any more is shown so, even
    /// before the agent notices it. Without a record, its pins show which hooks it has, and which of
    /// `interfaces` have none.
    pub fn hooks(&self, interfaces: &[Interface]) -> Vec<HookStatus> {
        let pinned = Pinned::read(&self.root);
        let Some(record) = &self.record else { return pinned.hooks(interfaces) };
        // A user who may not look at pins sees nothing else than the record.
        let may_check = self.is_pinned && self.shows_pins();
        let checked = |(ifindex, status): (u32, &HookStatus)| {
            if may_check { pinned.checked(ifindex, status) } else { status.clone() }
        };
        record.statuses().map(checked).collect()
    }

    /// Whether this process may read which hooks it has.
    pub fn has_hooks(&self) -> bool {
        self.record.is_some() || self.shows_pins()
    }

    /// The folder of its pins, if it has any.
    pub fn pins(&self) -> Option<&Path> {
        self.is_pinned.then_some(&*self.root)
    }

    fn shows_pins(&self) -> bool {
        fs::read_dir(self.root.join(PinDir::Links.name())).is_ok()
    }

    /// Whether it uses the iterator over open files, or why not; `None` without a record.
    pub fn holders(&self) -> Option<Result<(), &str>> {
        let reason = self.record.as_ref()?.holders_unsupported.as_deref();
        Some(reason.map_or(Ok(()), Err))
    }

    /// Ids of the programs of each hook, with the index of its interface or 0, as far as pins show
    /// them.
    pub fn programs(&self) -> BTreeMap<(Hook, u32), BTreeSet<u32>> {
        Pinned::read(&self.root).programs()
    }
}
