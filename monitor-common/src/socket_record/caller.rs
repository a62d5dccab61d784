//! The process that made a call.

use alloc::boxed::Box;
use core::{
    fmt,
    num::{NonZeroU32, NonZeroU64},
};

use crate::socket_event::TASK_NAME_LEN;

/// The process that made a call, as it was at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Thread group: what userspace calls the process id.
    pub tgid: u32,
    /// Thread: what userspace calls the thread id.
    pub tid: Option<NonZeroU32>,
    /// Thread group of the parent.
    pub parent_tgid: Option<u32>,
    /// Start time of the process, `CLOCK_BOOTTIME`, nanoseconds.
    pub start_time_ns: Option<u64>,
    /// Name of the thread group's leader.
    pub process_name: Option<TaskName>,
    /// Name of the calling thread.
    pub thread_name: TaskName,
    /// Real user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective user id.
    pub effective_uid: Option<u32>,
    /// Id of the cgroup in the unified hierarchy.
    pub cgroup_id: Option<NonZeroU64>,
    /// Command line, if the kernel side captured it.
    pub command_line: Option<CapturedCommandLine>,
    /// Low half of the address of the arguments in the caller's memory. It changes with every
    /// program that the process executes, because the kernel randomizes the place of the stack.
    pub arguments_at: Option<NonZeroU32>,
    /// The file that it executes; `None` for a kernel thread as well.
    pub executable: Option<FileNumbers>,
    /// Inode of its user namespace, as in `/proc/PID/ns/user`.
    pub user_namespace: Option<u32>,
    /// Inode of its mount namespace, as in `/proc/PID/ns/mnt`.
    pub mount_namespace: Option<u32>,
}

/// A file by the numbers that the kernel's inode has.
///
/// The device is that of `/proc/PID/mountinfo`; stat(2) shows others for a btrfs subvolume and for files
/// of an overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileNumbers {
    /// Major number of the file system's device.
    pub major: u32,
    /// Minor number of the file system's device.
    pub minor: u32,
    /// Number of the inode.
    pub inode: u64,
    /// Which of the files that had this number, 0 where the file system does not count them.
    pub generation: u32,
}

impl FileNumbers {
    /// From the kernel's own form of a device (`MINORBITS`, `include/linux/kdev_t.h`).
    pub const fn new(device: u32, inode: u64, generation: u32) -> Self {
        const MINOR_BITS: u32 = 20;
        let minor = device & ((1 << MINOR_BITS) - 1);
        Self { major: device >> MINOR_BITS, minor, inode, generation }
    }
}

/// Name of a task: bytes, not necessarily text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TaskName([u8; TASK_NAME_LEN]);

impl TaskName {
    /// From a field that is padded with NUL.
    pub const fn new(padded: [u8; TASK_NAME_LEN]) -> Self {
        Self(padded)
    }

    /// The bytes before the first NUL.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

impl fmt::Debug for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// The beginning of a command line, at most [`COMMAND_LINE_LEN`](crate::socket_event::COMMAND_LINE_LEN) bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct CapturedCommandLine {
    /// Arguments, each followed by NUL.
    pub bytes: Box<[u8]>,
    /// Whether the process has more than was captured.
    pub is_truncated: bool,
}

impl fmt::Debug for CapturedCommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.is_truncated { "..." } else { "" };
        write!(f, "\"{}\"{end}", self.bytes.escape_ascii())
    }
}
