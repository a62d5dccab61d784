//! From the id of a control group to its path.
//!
//! The id that BPF reports is the inode of the group's folder in the unified hierarchy
//! (`cgroup_id` in `include/linux/cgroup.h`), and a file handle at the same time. No id is used
//! twice, and no folder there can be renamed, so what was found once stays right.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::fs::DirEntryExt as _,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use super::Cgroup;
use crate::process::generations::Generations;
use monitor_kernel::sys::open_by_id;

/// Groups that are remembered, twice as many at most.
const REMEMBERED: usize = 2048;

/// Folders that a walk looks at.
const MAX_WALK: usize = 65_536;

/// A walk is for those who may not open a folder by its id, and not for every process.
const WALK_INTERVAL: Duration = Duration::from_secs(1);

/// The unified hierarchy.
#[derive(Debug)]
pub(in crate::process) struct CgroupTree {
    /// `None` on a host that has version 1 alone.
    mount: Option<Mount>,
    known: Generations<u64, Arc<Cgroup>>,
    last_walk: Option<Instant>,
}

#[derive(Debug)]
struct Mount {
    point: PathBuf,
    folder: File,
}

impl CgroupTree {
    /// The first mount of the whole hierarchy that this process sees.
    pub(in crate::process) fn new() -> Self {
        Self { mount: Mount::find(), known: Generations::new(REMEMBERED), last_walk: None }
    }

    /// The group with this id; `None` for one that was removed before anybody asked for it.
    pub(in crate::process) fn by_id(&mut self, id: u64) -> Option<Arc<Cgroup>> {
        if let Some(known) = self.known.get(&id) {
            return Some(Arc::clone(known));
        }
        let mount = self.mount.as_ref()?;
        match mount.path_of(id) {
            Ok(path) => {
                let cgroup = Arc::new(Cgroup::from_path(&path?));
                self.known.insert(id, Arc::clone(&cgroup));
                Some(cgroup)
            }
            Err(error) if error.raw_os_error() == Some(libc::ESTALE) => None,
            // CAP_DAC_READ_SEARCH is missing.
            Err(_) => self.walk_for(id),
        }
    }

    fn walk_for(&mut self, id: u64) -> Option<Arc<Cgroup>> {
        if self.last_walk.is_some_and(|last| last.elapsed() < WALK_INTERVAL) {
            return None;
        }
        self.last_walk = Some(Instant::now());
        let point = self.mount.as_ref()?.point.clone();
        let mut folders = vec![point.clone()];
        for _ in 0..MAX_WALK {
            let Some(folder) = folders.pop() else { break };
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    let path = entry.path();
                    if let Some(below) = below(&point, &path) {
                        self.known.insert(entry.ino(), Arc::new(Cgroup::from_path(&below)));
                    }
                    folders.push(path);
                }
            }
        }
        self.known.get(&id).map(Arc::clone)
    }
}

impl Mount {
    fn find() -> Option<Self> {
        let mounts =
            procfs::process::Process::myself().and_then(|myself| myself.mountinfo()).ok()?;
        let mut whole = mounts.into_iter().filter(|m| m.fs_type == "cgroup2" && m.root == "/");
        whole.find_map(|mount| {
            let folder = File::open(&mount.mount_point).ok()?;
            Some(Self { point: mount.mount_point, folder })
        })
    }

    /// `None` for a group that was removed in this moment.
    fn path_of(&self, id: u64) -> io::Result<Option<String>> {
        let folder = open_by_id(self.folder.as_fd(), id)?;
        let path = fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd()))?;
        Ok(below(&self.point, &path).filter(|path| !path.ends_with(" (deleted)")))
    }
}

/// The path of a group in its hierarchy, which is mounted at `point`.
fn below(point: &Path, folder: &Path) -> Option<String> {
    Some(format!("/{}", folder.strip_prefix(point).ok()?.to_str()?))
}
