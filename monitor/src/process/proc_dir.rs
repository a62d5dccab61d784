//! One process in `/proc`.

use std::{
    fs::File,
    io::{self, Read as _},
    mem::MaybeUninit,
    os::fd::OwnedFd,
    sync::Arc,
};

use monitor_common::socket_record::FileNumbers;
use rustix::fs::{Mode, OFlags, openat, readlinkat, readlinkat_raw};

use super::{
    bounded_read,
    cgroup::Cgroup,
    file_numbers::OpenFile,
    foreign_path::{FileId, Root},
    identity::{CommandLine, Executable},
    stat::Stat,
    text,
};

/// Bytes of a command line that are kept; the kernel gives what there is.
const MAX_COMMAND_LINE: u64 = 4096;

/// Bytes of an environment that are read.
const MAX_ENVIRONMENT: u64 = 64 * 1024;

/// Longer than what `/proc` writes into any of the other files: 100 control groups of version 1.
const MAX_FILE: u64 = 64 * 1024;

/// The folder of a process, held open.
///
/// It belongs to one process for good: when that has ended, every read through the folder fails,
/// even if its id was given to another one (`fs/proc/base.c`: an inode in `/proc/PID` holds `struct
/// pid`, not the number).
#[derive(Debug)]
pub(crate) struct ProcessDir {
    /// Process id in the pid namespace of `/proc`.
    pub(crate) pid: u32,
    folder: Arc<OwnedFd>,
}

/// What a process executes, beside other files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comparison {
    /// Whether it is the host's file of the same path.
    pub(crate) is_hosts: bool,
    /// Whether the host's file of that path is the one of the call; `None` if that cannot be known.
    pub(crate) hosts_is_captured: Option<bool>,
    /// Whether it is the file of the call; `None` if that cannot be known.
    pub(crate) is_captured: Option<bool>,
    /// Its numbers, without the generation.
    pub(crate) numbers: Option<FileNumbers>,
}

impl ProcessDir {
    pub(crate) fn open(pid: u32) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(format!("/proc/{pid}"), flags, Mode::empty())?;
        Ok(Self { pid, folder: Arc::new(folder) })
    }

    pub(crate) fn stat(&self) -> io::Result<Stat> {
        let line = self.read("stat", MAX_FILE)?;
        Stat::parse(&line).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// Real and effective user id.
    pub(crate) fn user_ids(&self) -> io::Result<(u32, u32)> {
        let status = self.read("status", MAX_FILE)?;
        user_ids(&status).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// Effective and supplementary group ids.
    pub(crate) fn groups(&self) -> io::Result<Vec<u32>> {
        let status = self.read("status", MAX_FILE)?;
        groups(&status).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    pub(crate) fn cgroup(&self) -> io::Result<Option<Cgroup>> {
        let file = self.read("cgroup", MAX_FILE)?;
        Ok(Cgroup::from_proc(&text::text(&file)))
    }

    /// The arguments, which the process may have overwritten; `None` for a kernel thread, and for a
    /// process that is about to end or to execute something. Given up if the process holds the lock of
    /// its memory map.
    pub(crate) fn command_line(&self) -> io::Result<Option<CommandLine>> {
        let mut bytes = self.read_memory("cmdline", MAX_COMMAND_LINE + 1)?;
        let is_truncated = bytes.len() as u64 > MAX_COMMAND_LINE;
        bytes.truncate(MAX_COMMAND_LINE as usize);
        let arguments = text::arguments(&bytes);
        Ok((!arguments.is_empty()).then_some(CommandLine { arguments, is_truncated }))
    }

    /// Inode of the network namespace.
    pub(crate) fn netns_inode(&self) -> io::Result<u32> {
        self.namespace("ns/net", b"net:[")
    }

    /// Inode of the user namespace. A process cannot return from one below the host's.
    pub(crate) fn user_namespace(&self) -> io::Result<u32> {
        self.namespace("ns/user", b"user:[")
    }

    /// Inode of the mount namespace.
    pub(crate) fn mount_namespace(&self) -> io::Result<u32> {
        self.namespace("ns/mnt", b"mnt:[")
    }

    fn namespace(&self, link: &str, kind: &[u8]) -> io::Result<u32> {
        let mut room = [MaybeUninit::uninit(); 64];
        let (target, _) = readlinkat_raw(&self.folder, link, &mut room)?;
        inode_of(target, kind).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// One of its links to a file, `exe` or `root`: the file, opened as a path. May wait for a server, for a
    /// handle of NFS.
    pub(super) fn open_path(&self, link: &str) -> io::Result<OwnedFd> {
        Ok(openat(&self.folder, link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// The path of the folder in which it is.
    pub(super) fn current_folder(&self) -> Option<String> {
        let path = readlinkat(&self.folder, "cwd", Vec::new()).ok()?;
        path.into_string().ok().filter(|path| path.starts_with('/'))
    }

    /// The executable. An error for kernel threads and processes that have ended.
    pub(crate) fn executable(&self) -> io::Result<Executable> {
        // Deleted files may have a path of PATH_MAX and the kernel's remark.
        let mut room = [MaybeUninit::uninit(); 4096 + 16];
        let (link, _) = readlinkat_raw(&self.folder, "exe", &mut room)?;
        let Some(path) = link.strip_suffix(b" (deleted)") else {
            return Ok(Executable { path: text::text(link), is_deleted: false });
        };
        // A file may really have a name that ends so.
        let pid = self.pid;
        let is_deleted = !self.executes(link, move |path| Root::of_process(pid)?.find(path));
        Ok(Executable { path: text::text(if is_deleted { path } else { link }), is_deleted })
    }

    /// Compares the executable with the host's file at its path, and with the file that the process
    /// executed when it made a call. An error if that is not known in time.
    pub(crate) fn compare_executable(
        &self,
        path: &str,
        captured: Option<FileNumbers>,
    ) -> io::Result<Comparison> {
        let (folder, path, pid) = (Arc::clone(&self.folder), path.as_bytes().to_vec(), self.pid);
        bounded_read::files_of(pid, move || {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let own = OpenFile::of_process(openat(&folder, "exe", flags, Mode::empty())?, pid);
            let hosts = OpenFile::of_host(&path).ok();
            let is_captured = |file: &OpenFile| captured.and_then(|numbers| file.is(&numbers));
            Ok(Comparison {
                is_hosts: hosts.as_ref().and_then(|file| file.id().ok()) == Some(own.id()?),
                hosts_is_captured: match &hosts {
                    Some(file) => is_captured(file),
                    None => captured.map(|_| false),
                },
                is_captured: is_captured(&own),
                numbers: own.numbers(),
            })
        })
    }

    /// Whether the file that `find` finds at `path` is the executable; `false` if that is not known in
    /// time.
    fn executes(
        &self,
        path: &[u8],
        find: impl FnOnce(&[u8]) -> io::Result<FileId> + Send + 'static,
    ) -> bool {
        let (folder, path) = (Arc::clone(&self.folder), path.to_vec());
        let same = bounded_read::files_of(self.pid, move || {
            Ok(FileId::of(&folder, "exe")? == find(&path)?)
        });
        same.unwrap_or(false)
    }

    /// Whether a descriptor, `fd/7`, leads to what `/proc` describes as this: `socket:[4711]`.
    pub(crate) fn leads_to(&self, descriptor: &str, target: &[u8]) -> bool {
        let mut room = [MaybeUninit::uninit(); 64];
        let link = readlinkat_raw(&self.folder, descriptor, &mut room);
        link.is_ok_and(|(link, _)| *link == *target)
    }

    /// The beginning of the environment with which the process was executed. Given up as
    /// [`Self::command_line`].
    pub(crate) fn environment(&self) -> io::Result<Vec<u8>> {
        self.read_memory("environ", MAX_ENVIRONMENT)
    }

    /// Reads a file whose content the kernel makes without waiting for the process.
    fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        read(&self.folder, name, limit)
    }

    /// Reads a file that the kernel makes from the process's memory.
    fn read_memory(&self, name: &'static str, limit: u64) -> io::Result<Vec<u8>> {
        let folder = Arc::clone(&self.folder);
        bounded_read::memory_of(self.pid, move || read(&folder, name, limit))
    }
}

fn read(folder: &OwnedFd, name: &str, limit: u64) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = File::from(openat(folder, name, flags, Mode::empty())?);
    let mut bytes = Vec::with_capacity(1024);
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `net:[4026531840]`.
pub(crate) fn namespace_inode(link: &[u8]) -> Option<u32> {
    inode_of(link, b"net:[")
}

fn inode_of(link: &[u8], kind: &[u8]) -> Option<u32> {
    str::from_utf8(link.strip_prefix(kind)?.strip_suffix(b"]")?).ok()?.parse().ok()
}

/// Real and effective user id, the first two of a line of `/proc/PID/status`.
fn user_ids(status: &[u8]) -> Option<(u32, u32)> {
    let mut ids = ids(status, b"Uid:")?;
    Some((ids.next()??, ids.next()??))
}

/// The effective group id, and those of the line of supplementary groups.
fn groups(status: &[u8]) -> Option<Vec<u32>> {
    let effective = ids(status, b"Gid:")?.nth(1)?;
    std::iter::once(effective).chain(ids(status, b"Groups:")?).collect()
}

/// The numbers in a line of `/proc/PID/status`.
fn ids<'a>(status: &'a [u8], name: &[u8]) -> Option<impl Iterator<Item = Option<u32>> + use<'a>> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name))?;
    Some(str::from_utf8(line).ok()?.split_ascii_whitespace().map(|id| id.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_namespaces_and_user_ids() {
        assert_eq!(namespace_inode(b"net:[4026531840]"), Some(4026531840));
        assert_eq!(namespace_inode(b"mnt:[4026531841]"), None);
        let status = b"Name:\tnc\nUid:\t1000\t0\t1000\t1000\nGid:\t1\t2\t3\t4\n";
        assert_eq!(user_ids(status), Some((1000, 0)));
        assert_eq!(user_ids(b"Name:\tnc\n"), None);
        let status = b"Gid:\t1\t2\t3\t4\nGroups:\t7 8 \n";
        assert_eq!(groups(status), Some(vec![2, 7, 8]));
        assert_eq!(groups(b"Gid:\t1\t2\t3\t4\n"), None);
    }

    #[test]
    fn fails_to_read_after_the_process_has_ended() {
        let mut child = std::process::Command::new("true").spawn().expect("a child");
        let folder = ProcessDir::open(child.id()).expect("a folder");
        folder.stat().expect("a child is there until it is waited for");
        child.wait().expect("waited");
        assert!(folder.stat().is_err());
    }
}
