//! Every network namespace of this host, and the ways into each.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::readlinkat_raw;

use super::{descriptors::has_threads, numbered};
use crate::process::proc_dir::namespace_inode;

/// A process may end before its namespace is entered; so many may.
const MAX_DOORS: usize = 4;

/// The namespaces there are.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    /// By their inodes.
    pub(super) doors: BTreeMap<u32, Vec<Door>>,
    /// The folders of processes of which it may not be seen in which namespace they are.
    pub(super) hidden: Vec<PathBuf>,
}

/// A way into a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// The folder of a process or thread that is in it.
    Member(PathBuf),
    /// A file that it was given as a name, by `ip netns` or a container runtime.
    Name(PathBuf),
}

impl Door {
    /// The file that leads to the namespace, if it is that one still.
    pub(super) fn open(&self, inode: u32) -> io::Result<File> {
        let file = match self {
            Self::Member(folder) => File::open(folder.join("ns/net"))?,
            Self::Name(path) => File::open(path)?,
        };
        let is_same = file.metadata()?.ino() == u64::from(inode);
        if is_same { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// The folder with its lists of sockets.
    pub(super) fn lists(&self) -> Option<PathBuf> {
        match self {
            Self::Member(folder) => Some(folder.join("net")),
            Self::Name(_) => None,
        }
    }
}

impl Namespaces {
    /// Looks at every process and thread, and at what is mounted. A namespace without a
    /// process and without a name is not found, although a socket may keep one.
    pub(super) fn find(proc: &OwnedFd) -> io::Result<Self> {
        let mut found = Self::default();
        numbered::each(proc, |name| {
            if let Some(pid) = numbered::number(name) {
                found.look_at(proc, pid);
            }
        })?;
        for (inode, path) in named() {
            found.add(inode, Door::Name(path));
        }
        Ok(found)
    }

    fn look_at(&mut self, proc: &OwnedFd, pid: u32) {
        if let Err(error) = self.look(proc, &pid.to_string())
            && error.kind() == io::ErrorKind::PermissionDenied
        {
            self.hidden.push(Path::new("/proc").join(pid.to_string()));
            return;
        }
        if !has_threads(proc, pid) {
            return;
        }
        let Ok(threads) = numbered::open(proc, &format!("{pid}/task")) else { return };
        // A thread that is gone by now is nowhere.
        let _ = numbered::each(&threads, |name| {
            if let Some(thread) = numbered::number(name).filter(|thread| *thread != pid) {
                let _ = self.look(proc, &format!("{pid}/task/{thread}"));
            }
        });
    }

    fn look(&mut self, proc: &OwnedFd, member: &str) -> io::Result<()> {
        let mut room = [MaybeUninit::uninit(); 32];
        let (link, _) = readlinkat_raw(proc, format!("{member}/ns/net"), &mut room)?;
        if let Some(inode) = namespace_inode(link)
            && self.doors.get(&inode).is_none_or(|doors| doors.len() < MAX_DOORS)
        {
            self.add(inode, Door::Member(Path::new("/proc").join(member)));
        }
        Ok(())
    }

    fn add(&mut self, inode: u32, door: Door) {
        self.doors.entry(inode).or_default().push(door);
    }
}

/// Namespaces that are mounted somewhere.
fn named() -> Vec<(u32, PathBuf)> {
    let mounts = procfs::process::Process::myself().and_then(|myself| myself.mountinfo());
    let mounts = mounts.into_iter().flatten().filter(|mount| mount.fs_type == "nsfs");
    mounts
        .filter_map(|mount| Some((namespace_inode(mount.root.as_bytes())?, mount.mount_point)))
        .collect()
}
