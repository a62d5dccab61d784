//! The numbers that the kernel's own inode of a file has: by them the kernel side names executables.
//!
//! stat(2) shows what the file system likes to show, which is a device of its own for a btrfs subvolume
//! and for files of an overlay. `/proc/self/fdinfo` has the mount of an open file and, since Linux 5.14,
//! the number of its inode; `/proc/PID/mountinfo` has the device of the mount.

use std::{
    collections::HashMap,
    fs, io,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{LazyLock, Mutex},
};

use monitor_common::socket_record::FileNumbers;

use super::foreign_path::{FileId, Root};
use crate::lock::lock;

/// Mounts that are remembered at most.
const MAX_MOUNTS: usize = 1024;

/// Devices by the mount and what stat(2) shows: another file system may have the mount's number later.
static MOUNTS: LazyLock<Mutex<HashMap<(u64, FileId), Mount>>> = LazyLock::new(Mutex::default);

/// An open file, and a process in whose mount namespace its mount is.
pub(super) struct OpenFile {
    file: OwnedFd,
    member: u32,
}

/// What is shown of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shown {
    major: u32,
    minor: u32,
    inode: u64,
    /// Whether the number is certain to be the inode's.
    is_inodes: bool,
}

/// A mounted file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mount {
    major: u32,
    minor: u32,
    /// Whether stat(2) may show other numbers than those of the file system's inodes.
    is_overlay: bool,
}

impl OpenFile {
    /// A file of a process.
    pub(super) const fn of_process(file: OwnedFd, pid: u32) -> Self {
        Self { file, member: pid }
    }

    /// The host's file at a path.
    ///
    /// # Errors
    ///
    /// As of [`Root::find`].
    pub(super) fn of_host(path: &[u8]) -> io::Result<Self> {
        let root = Root::of_host()?;
        Ok(Self { file: root.open(path)?, member: root.member() })
    }

    /// What stat(2) shows.
    pub(super) fn id(&self) -> io::Result<FileId> {
        FileId::of(&self.file, "")
    }

    /// Whether it is the file with these numbers, whose generation is not compared; `None` if the kernel
    /// does not show enough.
    pub(super) fn is(&self, numbers: &FileNumbers) -> Option<bool> {
        let remembered = self.shown(true).ok();
        match remembered.and_then(|shown| shown.is(numbers)) {
            Some(true) => Some(true),
            _ if remembered.is_some_and(|shown| shown.has_other_inode(numbers)) => Some(false),
            // What is remembered of the mount may be old.
            _ => self.shown(false).ok().and_then(|shown| shown.is(numbers)),
        }
    }

    /// Its numbers, without the generation; `None` if the kernel does not show them.
    pub(super) fn numbers(&self) -> Option<FileNumbers> {
        let shown = self.shown(true).ok().filter(|shown| shown.is_inodes)?;
        let Shown { major, minor, inode, .. } = shown;
        Some(FileNumbers { major, minor, inode, generation: 0 })
    }

    fn shown(&self, may_remember: bool) -> io::Result<Shown> {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", self.file.as_raw_fd()))?;
        let mount = field(&info, "mnt_id:").ok_or(io::ErrorKind::InvalidData)?;
        let id = self.id()?;
        let Mount { major, minor, is_overlay } = self.mount(mount, id, may_remember)?;
        Ok(match field(&info, "ino:") {
            Some(inode) => Shown { major, minor, inode, is_inodes: true },
            None => Shown { major, minor, inode: id.inode, is_inodes: !is_overlay },
        })
    }

    fn mount(&self, number: u64, id: FileId, may_remember: bool) -> io::Result<Mount> {
        let key = (number, id.of_device());
        if let Some(mount) = lock(&MOUNTS).get(&key).filter(|_| may_remember) {
            return Ok(*mount);
        }
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", self.member))?;
        let mount = Mount::find(&mounts, number).ok_or(io::ErrorKind::NotFound)?;
        let mut remembered = lock(&MOUNTS);
        if remembered.len() >= MAX_MOUNTS {
            remembered.clear();
        }
        remembered.insert(key, mount);
        Ok(mount)
    }
}

impl Shown {
    fn is(&self, numbers: &FileNumbers) -> Option<bool> {
        let is_same_device = (self.major, self.minor) == (numbers.major, numbers.minor);
        let is_same = is_same_device && self.inode == numbers.inode;
        (is_same || !is_same_device || self.is_inodes).then_some(is_same)
    }

    const fn has_other_inode(&self, numbers: &FileNumbers) -> bool {
        self.is_inodes && self.inode != numbers.inode
    }
}

impl Mount {
    /// The mount with this number in a list, `proc_pid_mountinfo(5)`.
    fn find(list: &str, number: u64) -> Option<Self> {
        list.lines().find_map(|line| {
            let (mount, file_system) = line.split_once(" - ")?;
            let mut fields = mount.split(' ');
            let is_it = fields.next()?.parse() == Ok(number);
            let (major, minor) = fields.nth(1).filter(|_| is_it)?.split_once(':')?;
            let kind = file_system.split(' ').next()?;
            Some(Self {
                major: major.parse().ok()?,
                minor: minor.parse().ok()?,
                is_overlay: matches!(kind, "overlay" | "aufs"),
            })
        })
    }
}

/// A field of `/proc/PID/fdinfo`.
fn field(info: &str, name: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
21 1 0:24 /root / rw,relatime shared:1 - btrfs /dev/sda2 rw,subvol=/root
22 21 0:31 / /proc rw - proc proc rw
230 21 0:52 / /var/lib/x/merged rw shared:7 master:1 - overlay overlay rw,lowerdir=/a
";

    #[test]
    fn finds_the_device_of_a_mount() {
        let root = Mount { major: 0, minor: 24, is_overlay: false };
        assert_eq!(Mount::find(MOUNTS, 21), Some(root));
        let overlay = Mount { major: 0, minor: 52, is_overlay: true };
        assert_eq!(Mount::find(MOUNTS, 230), Some(overlay));
        assert_eq!(Mount::find(MOUNTS, 23), None);
    }

    #[test]
    fn numbers_that_only_stat_shows_do_not_make_another_file_of_an_overlays() {
        let numbers = FileNumbers { major: 0, minor: 52, inode: 9, generation: 3 };
        let shown = Shown { major: 0, minor: 52, inode: 9, is_inodes: true };
        assert_eq!(shown.is(&numbers), Some(true), "the generation is not shown");
        assert_eq!(Shown { inode: 8, ..shown }.is(&numbers), Some(false));
        let unsure = Shown { is_inodes: false, ..shown };
        assert_eq!(unsure.is(&numbers), Some(true));
        assert_eq!(Shown { inode: 8, ..unsure }.is(&numbers), None);
        assert_eq!(Shown { minor: 51, ..unsure }.is(&numbers), Some(false), "no doubt of devices");
    }

    #[test]
    fn an_open_file_has_the_numbers_of_its_mount() {
        let file = fs::File::open("/proc/self/exe").expect("this program");
        let open = OpenFile::of_process(file.into(), std::process::id());
        let Some(numbers) = open.numbers() else { return };
        assert_eq!(open.is(&numbers), Some(true));
        assert_eq!(open.is(&FileNumbers { inode: numbers.inode ^ 1, ..numbers }), Some(false));
        assert_eq!(open.is(&FileNumbers { minor: numbers.minor ^ 1, ..numbers }), Some(false));
    }
}
