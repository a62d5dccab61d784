//! Paths that another process has chosen, opened without asking a server for them.
//!
//! A lookup in a FUSE file system waits for a server that any user may run, and cannot be ended by a
//! signal. One in an `autofs` file system mounts. So what the kernel has cached is used: the path of an
//! executable that runs, and of a namespace that is mounted, are always there. Where the kernel cannot
//! look there alone (before Linux 5.12) the path is walked, and not through such file systems.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    sync::LazyLock,
};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags, fstatfs, openat, openat2,
    readlinkat, statx,
};

/// As the kernel has it (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// Lookups that meet a rename or a mount elsewhere are repeated so often.
const TRIES: usize = 3;

const PATH: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// A file by its device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    device: (u32, u32),
    pub(crate) inode: u64,
}

/// A folder that paths are below, and a process whose mount namespace it is in.
#[derive(Debug)]
pub(crate) struct Root {
    folder: OwnedFd,
    member: u32,
}

impl Root {
    /// The root of a process.
    pub(crate) fn of_process(pid: u32) -> io::Result<Self> {
        let folder = rustix::fs::open(format!("/proc/{pid}/root"), PATH, Mode::empty())?;
        Ok(Self { folder, member: pid })
    }

    /// A folder that is open as a path, of the mount namespace of a process.
    pub(super) const fn of_folder(folder: OwnedFd, member: u32) -> Self {
        Self { folder, member }
    }

    /// The same folder, for another owner.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { folder: self.folder.try_clone()?, member: self.member })
    }

    /// The host's, which is not this process's own in a container; its own where the first process may
    /// not be looked at.
    pub(crate) fn of_host() -> io::Result<&'static Self> {
        static ROOT: LazyLock<Option<Root>> = LazyLock::new(|| {
            let own = || {
                let folder = rustix::fs::open("/", PATH, Mode::empty()).ok()?;
                Some(Root { folder, member: std::process::id() })
            };
            Root::of_process(1).ok().or_else(own)
        });
        ROOT.as_ref().ok_or_else(|| io::ErrorKind::PermissionDenied.into())
    }

    /// The file at a path below this folder.
    ///
    /// # Errors
    ///
    /// There is none, or the kernel would have to ask a server.
    pub(crate) fn find(&self, path: &[u8]) -> io::Result<FileId> {
        FileId::of(self.open(path)?, "")
    }

    /// As [`Self::find`]: the file, opened as a path.
    pub(super) fn open(&self, path: &[u8]) -> io::Result<OwnedFd> {
        match self.open_cached(path) {
            Err(error) if needs_a_walk(&error) => self.walk(path),
            found => found,
        }
    }

    /// The regular file at a path below this folder, opened for reading.
    ///
    /// # Errors
    ///
    /// As of [`Self::find`]; it is another kind of file.
    pub(super) fn open_regular(&self, path: &[u8]) -> io::Result<File> {
        regular(&self.open(path)?, self.member)
    }

    /// The folder at a path below this one, opened for reading.
    ///
    /// # Errors
    ///
    /// As of [`Self::find`]; it is no folder.
    pub(super) fn open_folder(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let found = self.open(path)?;
        FileSystems::seen_by(self.member)?.require_local(&found)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(openat(found, ".", flags, Mode::empty())?)
    }

    /// A process in the mount namespace of this folder.
    pub(super) const fn member(&self) -> u32 {
        self.member
    }

    fn open_cached(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let how = ResolveFlags::CACHED | ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let open = || Ok(openat2(&self.folder, path, PATH, Mode::empty(), how)?);
        let mut opened = open();
        for _ in 1..TRIES {
            let is_uncached = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
            if !opened.as_ref().is_err_and(is_uncached) {
                break;
            }
            opened = open();
        }
        opened
    }

    /// Opens one component after the other. `O_PATH` alone triggers no automount.
    fn walk(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let file_systems = FileSystems::seen_by(self.member)?;
        let mut folders = vec![self.folder.try_clone()?];
        let mut rest: Vec<Vec<u8>> = components(path).collect();
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == b".." {
                folders.truncate(folders.len().saturating_sub(1).max(1));
                continue;
            }
            let Some(folder) = folders.last() else { break };
            file_systems.require_local(folder)?;
            let file = openat(folder, name, PATH | OFlags::NOFOLLOW, Mode::empty())?;
            let mode = facts(&file, "", StatxFlags::TYPE)?.stx_mode;
            if FileType::from_raw_mode(u32::from(mode)) != FileType::Symlink {
                folders.push(file);
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(io::Error::from_raw_os_error(libc::ELOOP));
            }
            let target = readlinkat(&file, "", Vec::new())?.into_bytes();
            if target.starts_with(b"/") {
                folders.truncate(1);
            }
            rest.extend(components(&target));
        }
        folders.pop().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl FileId {
    /// The file at `path` below `folder`, which may be the last link of `/proc/PID/exe`; `folder` itself
    /// for an empty path.
    ///
    /// What the kernel knows of the file counts: no server is asked, except for a handle of NFS.
    pub(crate) fn of(folder: impl AsFd, path: &str) -> io::Result<Self> {
        let facts = facts(folder, path, StatxFlags::INO)?;
        let device = (facts.stx_dev_major, facts.stx_dev_minor);
        Ok(Self { device, inode: facts.stx_ino })
    }

    /// The device alone.
    pub(super) const fn of_device(&self) -> Self {
        Self { inode: 0, ..*self }
    }

    /// Whether both are files of one file system.
    pub(crate) fn is_on_device_of(&self, other: &Self) -> bool {
        self.device == other.device
    }
}

/// The regular file of this name in a folder, and of the same mount, opened for reading.
pub(super) fn regular_in(folder: &OwnedFd, name: &str) -> io::Result<File> {
    let file = openat(folder, name, PATH | OFlags::NOFOLLOW, Mode::empty())?;
    let mask = StatxFlags::TYPE | StatxFlags::MNT_ID;
    let (found, home) = (facts(&file, "", mask)?, facts(folder, "", mask)?);
    let is_regular = FileType::from_raw_mode(u32::from(found.stx_mode)) == FileType::RegularFile;
    if !is_regular || found.stx_mnt_id != home.stx_mnt_id {
        return Err(io::Error::other("it is not a regular file of the folder"));
    }
    reopened(&file)
}

/// A file that is open as a path, opened for reading: a regular one, which no user's program serves.
/// `member` is a process in its mount namespace.
pub(super) fn regular(file: &OwnedFd, member: u32) -> io::Result<File> {
    let mode = facts(file, "", StatxFlags::TYPE)?.stx_mode;
    if FileType::from_raw_mode(u32::from(mode)) != FileType::RegularFile {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mounts =
        FileSystems::seen_by(member).or_else(|_| FileSystems::seen_by(std::process::id()))?;
    match mounts.is_local(file)? {
        Some(true) => {}
        // A mount of no namespace: of memory, or one that was detached.
        None if !USERS_OWN.contains(&fstatfs(file)?.f_type) => {}
        _ => return Err(io::ErrorKind::WouldBlock.into()),
    }
    reopened(file)
}

fn reopened(file: &OwnedFd) -> io::Result<File> {
    // A lease of its owner would make the kernel wait.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// `FUSE_SUPER_MAGIC` and `AUTOFS_SUPER_MAGIC` (`linux/magic.h`).
const USERS_OWN: [rustix::fs::FsWord; 2] = [0x6573_5546, 0x0187];

fn facts(folder: impl AsFd, path: &str, mask: StatxFlags) -> io::Result<Statx> {
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
    Ok(statx(folder, path, flags, mask)?)
}

/// Whether the kernel has not cached the path, or has no such lookup (Linux 5.12), or a container's
/// filter of system calls rejects it.
fn needs_a_walk(error: &io::Error) -> bool {
    let reasons = [libc::EAGAIN, libc::EINVAL, libc::ENOSYS, libc::EPERM];
    error.raw_os_error().is_some_and(|error| reasons.contains(&error))
}

/// The components of a path, the first one last.
fn components(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let named = path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    named.rev().map(<[u8]>::to_vec)
}

/// The types of mounted file systems, by the id of the mount.
struct FileSystems(HashMap<u64, String>);

impl FileSystems {
    fn seen_by(pid: u32) -> io::Result<Self> {
        let member = procfs::process::Process::new(pid.cast_signed()).map_err(io::Error::other)?;
        let mounts = member.mountinfo().map_err(io::Error::other)?;
        let types = mounts
            .into_iter()
            .filter_map(|mount| Some((u64::try_from(mount.mnt_id).ok()?, mount.fs_type)));
        Ok(Self(types.collect()))
    }

    /// An error for a folder in which a lookup may wait for a user's program, or mount something.
    fn require_local(&self, folder: &OwnedFd) -> io::Result<()> {
        let is_local = self.is_local(folder)? == Some(true);
        if is_local { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    /// Whether a file is in a file system that no user's program serves; `None` of a mount that the
    /// namespace does not have.
    fn is_local(&self, file: &OwnedFd) -> io::Result<Option<bool>> {
        let mount = facts(file, "", StatxFlags::MNT_ID)?.stx_mnt_id;
        let is_local = |kind: &String| !kind.starts_with("fuse") && !matches!(&**kind, "autofs");
        Ok(self.0.get(&mount).map(is_local))
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, os::unix::fs::symlink, process::id};

    use super::*;

    #[test]
    fn the_cached_and_the_walked_path_lead_to_the_same_file() {
        let folder = env::temp_dir().join(format!("ghostport-paths-{}", id()));
        fs::create_dir_all(folder.join("a/b")).expect("folders");
        fs::write(folder.join("a/b/file"), "").expect("a file");
        symlink("../a/./b", folder.join("a/link")).expect("a link");
        symlink(folder.join("a"), folder.join("absolute")).expect("a link");
        let root = Root::of_process(id()).expect("a root");
        let expected = FileId::of(File::open(folder.join("a/b/file")).expect("open"), "");
        let expected = expected.expect("a file");
        for path in ["a/b/file", "a/link/file", "a/b/../link/file", "absolute/b/file"] {
            let path = folder.join(path);
            let path = path.to_str().expect("UTF-8").as_bytes();
            assert_eq!(root.find(path).expect("found"), expected);
            let walked = root.walk(path).expect("walked");
            assert_eq!(FileId::of(walked, "").expect("a file"), expected);
        }
        let missing = folder.join("a/c");
        let missing = missing.to_str().expect("UTF-8").as_bytes();
        assert_eq!(root.walk(missing).expect_err("missing").kind(), io::ErrorKind::NotFound);
        symlink("loop", folder.join("loop")).expect("a link");
        let looping = folder.join("loop");
        let looping = looping.to_str().expect("UTF-8").as_bytes();
        assert_eq!(root.walk(looping).expect_err("a loop").raw_os_error(), Some(libc::ELOOP));
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn stays_below_the_root() {
        let root = Root::of_process(id()).expect("a root");
        let walked = root.walk(b"../../proc/./../").expect("walked");
        assert_eq!(
            FileId::of(walked, "").expect("a folder"),
            FileId::of(&root.folder, "").expect("a folder")
        );
    }
}
