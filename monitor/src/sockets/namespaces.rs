//! Every network namespace of this host, and the paths that lead into each.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    thread,
};

use monitor_kernel::capabilities;
use rustix::{
    fs::readlinkat_raw,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::{descriptors::has_threads, numbered};
use crate::process::{bounded_read, proc_dir::namespace_inode};

/// The folder of the calling thread's namespace.
pub(super) const HERE: &str = "/proc/thread-self/net";

/// Paths that are kept for a namespace: a process may end before its namespace is entered.
const MAX_PATHS: usize = 4;

/// Moves the calling thread into a network namespace.
///
/// # Errors
/// `PermissionDenied` without CAP_SYS_ADMIN. The kernel is not asked then: an agent that was confined
/// would have each attempt logged.
pub(super) fn enter(namespace: &File) -> io::Result<()> {
    if !capabilities::has_sys_admin() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

/// The namespaces of this host.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    /// Paths into each, by its inode.
    pub(super) paths: BTreeMap<u32, Vec<NamespacePath>>,
    /// The folders of processes whose namespace may not be seen.
    pub(super) hidden: Vec<PathBuf>,
}

/// A path into a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NamespacePath {
    /// The folder of a process or thread that is in it.
    Member(PathBuf),
    /// A file that it is mounted on, by `ip netns` or a container runtime.
    Mounted(PathBuf),
}

impl NamespacePath {
    /// The file of the namespace, if the path still leads to this one.
    pub(super) fn open(&self, inode: u32) -> io::Result<File> {
        let file = match self {
            Self::Member(folder) => File::open(folder.join("ns/net"))?,
            Self::Mounted(path) => {
                let path = path.clone();
                bounded_read::files_of(inode, move || File::open(path))?
            }
        };
        let is_same = file.metadata()?.ino() == u64::from(inode);
        if is_same { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// The folder with its lists of sockets; `None` for a mount, which has none.
    pub(super) fn lists(&self) -> Option<PathBuf> {
        match self {
            Self::Member(folder) => Some(folder.join("net")),
            Self::Mounted(_) => None,
        }
    }
}

impl Namespaces {
    /// Visits every process, thread and mount. A namespace that has neither is not found: sockets
    /// alone can keep one.
    pub(super) fn find(proc: &OwnedFd) -> io::Result<Self> {
        let mut found = Self::default();
        numbered::each(proc, |name| {
            if let Some(pid) = numbered::number(name) {
                found.look_at(proc, pid);
            }
        })?;
        for (inode, path) in mounted() {
            found.add(inode, NamespacePath::Mounted(path));
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
        // A thread that has ended is in no namespace.
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
            && self.paths.get(&inode).is_none_or(|paths| paths.len() < MAX_PATHS)
        {
            self.add(inode, NamespacePath::Member(Path::new("/proc").join(member)));
        }
        Ok(())
    }

    fn add(&mut self, inode: u32, path: NamespacePath) {
        self.paths.entry(inode).or_default().push(path);
    }
}

/// Does `work` on a thread that may enter other namespaces: it does not return to its own.
pub(super) fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("namespaces".into())
            .spawn_scoped(scope, work)?
            .join()
            .map_err(|_| io::Error::other("the thread that looks into namespaces has panicked"))
    })
}

/// What `here` finds within a namespace, or `listed` in its `net` folder where it may not be entered. Tries
/// one path after the other; of their errors the first counts that is not about a path that is gone.
pub(super) fn within_any<T>(
    paths: &[NamespacePath],
    inode: u32,
    here: impl Fn() -> io::Result<T>,
    listed: impl Fn(&Path) -> io::Result<T>,
) -> io::Result<T> {
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for path in paths {
        match within(path, inode, &here, &listed) {
            Ok(found) => return Ok(found),
            Err(error) if is_gone(&failure) => failure = error,
            Err(_) => {}
        }
    }
    Err(failure)
}

fn within<T>(
    path: &NamespacePath,
    inode: u32,
    here: impl Fn() -> io::Result<T>,
    listed: impl Fn(&Path) -> io::Result<T>,
) -> io::Result<T> {
    let namespace = path.open(inode)?;
    match enter(&namespace) {
        Ok(()) => here(),
        Err(refusal) => {
            let lists = path.lists().ok_or(refusal)?;
            let found = listed(&lists)?;
            // The process may have left the namespace while the lists were read.
            path.open(inode)?;
            Ok(found)
        }
    }
}

/// Whether a namespace, or what leads into it, is no longer there.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// Inode of the calling thread's namespace.
///
/// # Errors
///
/// `/proc` cannot be read.
pub fn own_inode() -> io::Result<u32> {
    Ok(fs::metadata("/proc/thread-self/ns/net")?.ino() as u32)
}

/// Number of namespaces beside the caller's, as far as they may be seen.
pub fn others() -> io::Result<usize> {
    let proc = numbered::proc()?;
    let own = own_inode()?;
    let namespaces = Namespaces::find(&proc)?;
    Ok(namespaces.paths.keys().filter(|inode| **inode != own).count())
}

/// Namespaces that are mounted on a file.
fn mounted() -> Vec<(u32, PathBuf)> {
    let mounts = procfs::process::Process::myself().and_then(|myself| myself.mountinfo());
    let mounts = mounts.into_iter().flatten().filter(|mount| mount.fs_type == "nsfs");
    mounts
        .filter_map(|mount| Some((namespace_inode(mount.root.as_bytes())?, mount.mount_point)))
        .collect()
}
