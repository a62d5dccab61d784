//! The only reader of `struct task_struct` and what hangs on it.

use core::ffi::c_void;

use aya_ebpf::helpers::{
    bpf_probe_read_kernel,
    generated::{self, bpf_get_current_task, bpf_probe_read_user},
};
use monitor_common::{
    offsets::MISSING,
    socket_event::{COMMAND_LINE_LEN, TASK_NAME_LEN},
};

use crate::sock::offset;

/// Whether command lines may be read: 0 or 1; userspace sets it before load.
#[unsafe(no_mangle)]
static COMMAND_LINES: u8 = 0;

/// How kernel memory is read.
pub(crate) trait Access {
    /// Reads a member of a kernel struct; `None` where its offset is not known.
    fn member<T: Copy>(structure: *const c_void, offset: u32) -> Option<T>;
}

/// By a helper, which checks the address: for every program.
pub(crate) struct Probed;

/// By a load: for what a trampoline is given, and what is reached from there by loads, of which the
/// verifier knows the type. A load at a bad address finds 0 (`BPF_PROBE_MEM`), never a fault.
pub(crate) struct Typed;

impl Access for Probed {
    #[inline(always)]
    fn member<T: Copy>(structure: *const c_void, offset: u32) -> Option<T> {
        if offset == MISSING || structure.is_null() {
            return None;
        }
        // SAFETY: the helper checks the address.
        unsafe { bpf_probe_read_kernel(structure.byte_add(offset as usize).cast()) }.ok()
    }
}

impl Access for Typed {
    #[inline(always)]
    fn member<T: Copy>(structure: *const c_void, offset: u32) -> Option<T> {
        if offset == MISSING || structure.is_null() {
            return None;
        }
        // SAFETY: the verifier refuses the program unless a value of this size is there.
        Some(unsafe { structure.byte_add(offset as usize).cast::<T>().read_volatile() })
    }
}

/// Reads a member of a kernel struct as any program may; `None` where its offset is not known.
#[inline(always)]
pub(crate) fn member<T: Copy>(structure: *const c_void, offset: u32) -> Option<T> {
    Probed::member(structure, offset)
}

/// A member of a kernel struct that may not be there, and is zero then.
///
/// For what is stored whether or not it is known. It takes no branch: each doubles the paths that
/// the verifier walks, and before Linux 6.5 it recognises few of them as the same. And of an empty
/// `Option` the compiler copies what it never wrote, which the verifier forbids before Linux 6.3.
#[derive(Clone, Copy)]
pub(crate) struct Known<T> {
    pub(crate) value: T,
    /// All bits, or none.
    mask: u16,
}

impl<T: Copy> Known<T> {
    /// `bit` if the value is known.
    #[inline(always)]
    pub(crate) fn flag(&self, bit: u16) -> u16 {
        self.mask & bit
    }
}

/// Reads a member of a kernel struct, which may be null.
#[inline(always)]
pub(crate) fn known_member<T: Copy + Default>(structure: *const c_void, offset: u32) -> Known<T> {
    let mut value = T::default();
    if offset == MISSING {
        return Known { value, mask: 0 };
    }
    let at = structure.wrapping_byte_add(offset as usize);
    // SAFETY: the helper checks the address, and fills the value with zeros where it cannot read.
    let error = unsafe {
        generated::bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, at)
    };
    Known { value, mask: !(error >> 63) as u16 }
}

/// Calling task.
#[inline(always)]
fn current() -> *const c_void {
    // SAFETY: the helper takes no arguments.
    unsafe { bpf_get_current_task() as *const c_void }
}

/// Who makes a call.
#[derive(Clone, Copy)]
pub(crate) struct Caller {
    /// Effective user id.
    pub(crate) effective_uid: Known<u32>,
    /// Name of the leader of the thread group: its oldest thread, unless that has called `execve`.
    pub(crate) process_name: Known<[u8; TASK_NAME_LEN]>,
    /// When the process was made, nanoseconds of `CLOCK_BOOTTIME`.
    pub(crate) start_time_ns: Known<u64>,
    /// Process id of the parent, 0 for who has none.
    pub(crate) parent_tgid: Known<u32>,
}

impl Caller {
    /// The running task.
    #[inline(always)]
    pub(crate) fn read() -> Self {
        let task = current();
        let [credentials, leader, parent] =
            [offset!(task_cred), offset!(task_group_leader), offset!(task_real_parent)]
                .map(|offset| known_member::<usize>(task, offset).value as *const c_void);
        Self {
            effective_uid: known_member(credentials, offset!(cred_euid)),
            process_name: known_member(leader, offset!(task_comm)),
            start_time_ns: known_member(leader, offset!(task_start_boottime)),
            parent_tgid: known_member(parent, offset!(task_tgid)),
        }
    }
}

/// Where the caller keeps its arguments, in its own memory; a thread of the kernel has none.
#[derive(Clone, Copy)]
pub(crate) struct Arguments {
    space: *const c_void,
    /// Address, 0 if not known.
    pub(crate) start: u64,
}

impl Arguments {
    /// The caller's.
    #[inline(always)]
    pub(crate) fn of_caller() -> Self {
        let space = known_member::<usize>(current(), offset!(task_mm)).value as *const c_void;
        Self { space, start: known_member(space, offset!(mm_arg_start)).value }
    }
}

/// The caller's command line, in its own memory.
#[derive(Clone, Copy)]
pub(crate) struct CommandLine {
    start: u64,
    len: u64,
}

impl CommandLine {
    /// `None` where command lines are not wanted, and for kernel threads.
    #[inline(always)]
    pub(crate) fn of(arguments: Arguments) -> Option<Self> {
        // SAFETY: COMMAND_LINES is read-only memory of the object.
        if unsafe { (&raw const COMMAND_LINES).read_volatile() } == 0 {
            return None;
        }
        let Arguments { space, start } = arguments;
        if start == 0 {
            return None;
        }
        let end: u64 = member(space, offset!(mm_arg_end))?;
        let len = end.checked_sub(start).filter(|len| *len != 0)?;
        Some(Self { start, len })
    }

    /// Length of the whole.
    #[inline(always)]
    pub(crate) fn len(self) -> u32 {
        u32::try_from(self.len).unwrap_or(u32::MAX)
    }

    /// Copies as much of it as there is room for; false if it is not in memory. Never more than its
    /// length: the environment is next to it.
    #[inline(always)]
    pub(crate) fn copy_to(self, room: *mut [u8; COMMAND_LINE_LEN]) -> bool {
        let len = self.len.min(COMMAND_LINE_LEN as u64) as u32;
        // SAFETY: the helper checks the address, and the room is at least as long.
        unsafe { bpf_probe_read_user(room.cast(), len, self.start as *const c_void) == 0 }
    }
}

/// `struct sock` behind a file descriptor of the caller.
///
/// Walks `current->files->fdt->fd[fd]`, as `fget` in `fs/file.c` does, without taking references:
/// every step is a checked read, and what is read is checked again at the end of the call.
#[inline(always)]
pub(crate) fn sock_of_descriptor(descriptor: u32) -> Option<*const c_void> {
    let files: *const c_void = member(current(), offset!(task_files))?;
    let table: *const c_void = member(files, offset!(files_fdt))?;
    let capacity: u32 = member(table, offset!(fdtable_max_fds))?;
    if descriptor >= capacity {
        return None;
    }
    let array: *const c_void = member(table, offset!(fdtable_fd))?;
    sock_of_file(member(array, descriptor.checked_mul(8)?)?)
}

/// `struct sock` behind an open file; `None` for one that is no socket.
#[inline(always)]
pub(crate) fn sock_of_file(file: *const c_void) -> Option<*const c_void> {
    const S_IFMT: u16 = 0o170_000;
    const S_IFSOCK: u16 = 0o140_000;
    let inode: *const c_void = member(file, offset!(file_inode))?;
    let mode: u16 = member(inode, offset!(inode_mode))?;
    if mode & S_IFMT != S_IFSOCK {
        return None;
    }
    let socket: *const c_void = member(file, offset!(file_private_data))?;
    member(socket, offset!(socket_sk))
}
