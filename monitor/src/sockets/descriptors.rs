//! Descriptors of sockets, found in `/proc/PID/fd` of every process.

use std::{
    collections::{HashMap, HashSet},
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
};

use rustix::{
    fs::{AtFlags, readlinkat_raw, statat},
    io::Errno,
};

use super::numbered;

/// A descriptor of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) pid: u32,
    /// Path below `/proc/PID`.
    pub(super) path: String,
}

/// Descriptors of the sockets that were searched for, one a process, by the socket's inode.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) by_inode: HashMap<u32, Vec<Descriptor>>,
    /// Processes whose descriptors may not be read.
    pub(super) unreadable: usize,
}

/// Searches every process.
///
/// Threads nearly always share the descriptors of their process. They are searched only for sockets
/// that no process was found to have: a thread may have descriptors of its own (`unshare(2)`), and
/// is the only one that shows them when the leading thread has ended (`pthread_exit(3)`).
pub(super) fn find(proc: &OwnedFd, inodes: &HashSet<u32>) -> io::Result<Found> {
    let mut found = Found::default();
    if inodes.is_empty() {
        return Ok(found);
    }
    numbered::each(proc, |name| {
        let Some(pid) = numbered::number(name) else { return };
        if let Err(error) = found.search(proc, pid, "fd", inodes)
            && error.kind() == io::ErrorKind::PermissionDenied
        {
            found.unreadable += 1;
        }
    })?;
    let missing: HashSet<u32> =
        inodes.iter().copied().filter(|inode| !found.by_inode.contains_key(inode)).collect();
    if !missing.is_empty() {
        numbered::each(proc, |name| {
            if let Some(pid) = numbered::number(name) {
                found.search_threads(proc, pid, &missing);
            }
        })?;
    }
    Ok(found)
}

/// Searches one process.
pub(super) fn find_of(proc: &OwnedFd, pid: u32, inodes: &HashSet<u32>, found: &mut Found) {
    // One that has ended, or whose descriptors may not be read, is left out.
    if !inodes.is_empty() {
        let _ = found.search(proc, pid, "fd", inodes);
    }
}

/// Whether a process has a descriptor of this socket.
pub(super) fn holds(proc: &OwnedFd, pid: u32, inode: u32) -> bool {
    let mut found = Found::default();
    find_of(proc, pid, &HashSet::from([inode]), &mut found);
    !found.by_inode.is_empty()
}

impl Found {
    fn search_threads(&mut self, proc: &OwnedFd, pid: u32, inodes: &HashSet<u32>) {
        if !has_threads(proc, pid) {
            return;
        }
        let Ok(threads) = numbered::open(proc, &format!("{pid}/task")) else { return };
        // A process or thread that has ended holds nothing.
        let _ = numbered::each(&threads, |name| {
            if let Some(thread) = numbered::number(name) {
                let _ = self.search(proc, pid, &format!("task/{thread}/fd"), inodes);
            }
        });
    }

    /// Searches a folder of descriptors.
    ///
    /// # Errors
    /// The folder or one of its links may not be read: the kernel lets a process that has
    /// CAP_DAC_READ_SEARCH and no CAP_SYS_PTRACE list the folder (`proc_fd_permission`), and not read its
    /// links (`proc_pid_readlink`, both in fs/proc).
    fn search(
        &mut self,
        proc: &OwnedFd,
        pid: u32,
        below: &str,
        inodes: &HashSet<u32>,
    ) -> io::Result<()> {
        let folder = numbered::open(proc, &format!("{pid}/{below}"))?;
        let mut refused = None;
        numbered::each(&folder, |name| {
            let mut room = [MaybeUninit::uninit(); 32];
            let link = match readlinkat_raw(&folder, name, &mut room) {
                Ok((link, _)) => link,
                Err(error @ (Errno::ACCESS | Errno::PERM)) => return refused = Some(error),
                // It was closed meanwhile.
                Err(_) => return,
            };
            let Some(inode) = socket_inode(link).filter(|inode| inodes.contains(inode)) else {
                return;
            };
            let descriptors = self.by_inode.entry(inode).or_default();
            if descriptors.last().is_none_or(|last| last.pid != pid) {
                let path = format!("{below}/{}", name.to_string_lossy());
                descriptors.push(Descriptor { pid, path });
            }
        })?;
        refused.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Whether a process has more than its leading thread: a folder has two links, and one for each
/// folder in it.
pub(super) fn has_threads(proc: &OwnedFd, pid: u32) -> bool {
    statat(proc, format!("{pid}/task"), AtFlags::empty()).is_ok_and(|task| task.st_nlink > 3)
}

/// `socket:[4711]`.
fn socket_inode(link: &[u8]) -> Option<u32> {
    let inode = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    str::from_utf8(inode).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_of_sockets_have_an_inode() {
        assert_eq!(socket_inode(b"socket:[4711]"), Some(4711));
        assert_eq!(socket_inode(b"pipe:[4711]"), None);
        assert_eq!(socket_inode(b"/tmp/socket:[4711]"), None);
        assert_eq!(socket_inode(b"socket:[4711"), None);
    }
}
