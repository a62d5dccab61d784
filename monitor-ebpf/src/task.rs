//! The only reader of `struct task_struct` and the structs that it points to.

use core::ffi::c_void;

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid,
    generated::{bpf_get_current_comm, bpf_get_current_task, bpf_probe_read_user},
};
use monitor_common::{
    offsets::MISSING,
    socket_event::{COMMAND_LINE_LEN, TASK_NAME_LEN},
};

use crate::{
    access::{Access as _, Known, Part as _, Probed},
    sock::offset,
};

/// Whether command lines may be read: 0 or 1; userspace sets it before load.
#[unsafe(no_mangle)]
static COMMAND_LINES: u8 = 0;

/// Running task.
#[inline(always)]
fn current() -> *const c_void {
    // SAFETY: the helper takes no arguments.
    unsafe { bpf_get_current_task() as *const c_void }
}

/// Name of a task, NUL-terminated, in words for the same reason as [`crate::sock::IpWords`].
pub(crate) type TaskName = [u64; TASK_NAME_LEN / 8];

/// The process that makes a call.
#[derive(Clone, Copy)]
pub(crate) struct Caller {
    /// Thread group: what userspace calls the process id.
    pub(crate) tgid: u32,
    /// Thread.
    pub(crate) pid: u32,
    /// Name of the thread.
    pub(crate) thread_name: TaskName,
    /// Effective user id.
    pub(crate) effective_uid: Known<u32>,
    /// Name of the leader of the thread group: its oldest thread, unless that has called `execve`.
    pub(crate) process_name: Known<TaskName>,
    /// Start time of the process, nanoseconds of `CLOCK_BOOTTIME`.
    pub(crate) start_time_ns: Known<u64>,
    /// Process id of the parent, 0 without a parent.
    pub(crate) parent_tgid: Known<u32>,
}

impl Caller {
    /// The running task.
    #[inline(always)]
    pub(crate) fn read() -> Self {
        let (pid_tgid, task) = (bpf_get_current_pid_tgid(), current());
        let (tgid, pid) = ((pid_tgid >> 32) as u32, pid_tgid as u32);
        let behind = |offset| Probed::known::<usize>(task, offset).value as *const c_void;
        let (credentials, parent) = (behind(offset!(task_cred)), behind(offset!(task_real_parent)));
        // Most callers have one thread.
        let is_leader = tgid == pid;
        let leader = if is_leader { task } else { behind(offset!(task_group_leader)) };
        let process_name: Known<TaskName> = Probed::known(leader, offset!(task_comm));
        let is_named = is_leader && process_name.flag(1) != 0;
        Self {
            tgid,
            pid,
            thread_name: if is_named { process_name.value } else { name_of_thread() },
            effective_uid: Probed::known(credentials, offset!(cred_euid)),
            process_name,
            start_time_ns: Probed::known(leader, offset!(task_start_boottime)),
            parent_tgid: Probed::known(parent, offset!(task_tgid)),
        }
    }
}

/// The file that the caller executes, and the namespaces that decide what its path and its user mean.
///
/// Read where the record is, not with [`Caller`]: both have no room on the stack.
#[derive(Clone, Copy)]
pub(crate) struct Program {
    /// Device of the file system.
    pub(crate) device: Known<u32>,
    /// Number of the file's inode.
    pub(crate) inode: Known<u64>,
    /// Which of the files that had this number.
    pub(crate) generation: Known<u32>,
    /// Inode of the user namespace.
    pub(crate) user_namespace: Known<u32>,
    /// Inode of the mount namespace.
    pub(crate) mount_namespace: Known<u32>,
}

impl Program {
    /// The running task's. `mm->exe_file` is an RCU pointer (`include/linux/mm_types.h`): the reads are
    /// checked, and a file that was replaced at this moment yields numbers of no file.
    #[inline(always)]
    pub(crate) fn read() -> Self {
        let behind = |structure: *const c_void, offset| {
            Probed::known::<usize>(structure, offset).value as *const c_void
        };
        let task = current();
        let file = behind(behind(task, offset!(task_mm)), offset!(mm_exe_file));
        let inode = behind(file, offset!(file_inode));
        let user = behind(behind(task, offset!(task_cred)), offset!(cred_user_ns));
        let mounts = behind(behind(task, offset!(task_nsproxy)), offset!(nsproxy_mnt_ns));
        Self {
            device: Probed::known(behind(inode, offset!(inode_sb)), offset!(sb_dev)),
            inode: Probed::known(inode, offset!(inode_number)),
            generation: Probed::known(inode, offset!(inode_generation)),
            user_namespace: Probed::known(user, offset!(user_ns_inum)),
            mount_namespace: Probed::known(mounts, offset!(mnt_ns_inum)),
        }
    }
}

/// Name of the running thread.
#[inline(always)]
fn name_of_thread() -> TaskName {
    let mut name = [0; TASK_NAME_LEN / 8];
    let room = name.as_mut_ptr().cast();
    // SAFETY: the buffer has this size. The helper fails only without a task.
    unsafe { bpf_get_current_comm(room, size_of::<TaskName>() as u32) };
    name
}

/// Place of the arguments in the caller's memory; a kernel thread has none.
#[derive(Clone, Copy)]
pub(crate) struct Arguments {
    /// Start address, 0 if unknown.
    pub(crate) start: u64,
    /// End address, 0 if unknown.
    end: u64,
}

impl Arguments {
    /// The caller's.
    #[inline(always)]
    pub(crate) fn of_caller() -> Self {
        let (start, end) = (offset!(mm_arg_start), offset!(mm_arg_end));
        let space = Probed::known::<usize>(current(), offset!(task_mm)).value as *const c_void;
        let mut both = Probed::part::<2>(space, start);
        if start == MISSING || !both.read() {
            return Self { start: 0, end: 0 };
        }
        Self { start: both.known(start).value, end: both.known(end).value }
    }
}

/// The caller's command line, in its own memory.
#[derive(Clone, Copy)]
pub(crate) struct CommandLine {
    start: u64,
    len: u64,
}

impl CommandLine {
    /// `None` if command lines are disabled, and for kernel threads.
    #[inline(always)]
    pub(crate) fn of(arguments: Arguments) -> Option<Self> {
        // SAFETY: COMMAND_LINES is read-only memory of the object.
        if unsafe { (&raw const COMMAND_LINES).read_volatile() } == 0 {
            return None;
        }
        let Arguments { start, end } = arguments;
        if start == 0 {
            return None;
        }
        let len = end.checked_sub(start).filter(|len| *len != 0)?;
        Some(Self { start, len })
    }

    /// Length of the whole.
    #[inline(always)]
    pub(crate) fn len(self) -> u32 {
        u32::try_from(self.len).unwrap_or(u32::MAX)
    }

    /// Copies as much as fits into `room`; false if it is not in memory. Never more than its length:
    /// the environment follows it.
    #[inline(always)]
    pub(crate) fn copy_to(self, room: *mut [u8; COMMAND_LINE_LEN]) -> bool {
        let len = self.len.min(COMMAND_LINE_LEN as u64) as u32;
        // SAFETY: the helper checks the address, and `room` is at least as long.
        unsafe { bpf_probe_read_user(room.cast(), len, self.start as *const c_void) == 0 }
    }
}

/// `struct sock` behind a file descriptor of the caller.
///
/// Walks `current->files->fdt->fd[fd]`, as `fget` in `fs/file.c` does, without taking references:
/// every step is a checked read, and the socket itself is read once the call has returned.
#[inline(always)]
pub(crate) fn sock_of_descriptor(descriptor: u32) -> Option<*const c_void> {
    let files: *const c_void = Probed::member(current(), offset!(task_files))?;
    let table: *const c_void = Probed::member(files, offset!(files_fdt))?;
    let capacity: u32 = Probed::member(table, offset!(fdtable_max_fds))?;
    if descriptor >= capacity {
        return None;
    }
    let array: *const c_void = Probed::member(table, offset!(fdtable_fd))?;
    sock_of_file(Probed::member(array, descriptor.checked_mul(8)?)?)
}

/// `struct sock` behind an open file; `None` for other files.
#[inline(always)]
pub(crate) fn sock_of_file(file: *const c_void) -> Option<*const c_void> {
    const S_IFMT: u16 = 0o170_000;
    const S_IFSOCK: u16 = 0o140_000;
    let inode: *const c_void = Probed::member(file, offset!(file_inode))?;
    let mode: u16 = Probed::member(inode, offset!(inode_mode))?;
    if mode & S_IFMT != S_IFSOCK {
        return None;
    }
    let socket: *const c_void = Probed::member(file, offset!(file_private_data))?;
    Probed::member(socket, offset!(socket_sk))
}
