//! The only reader of `struct task_struct` and what hangs on it.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_probe_read_kernel, generated::bpf_get_current_task};
use monitor_common::{offsets::MISSING, socket_event::TASK_NAME_LEN};

use crate::sock::offset;

/// Reads a member of a kernel struct; `None` where its offset is not known.
#[inline(always)]
pub(crate) fn member<T>(structure: *const c_void, offset: u32) -> Option<T> {
    if offset == MISSING || structure.is_null() {
        return None;
    }
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel(structure.byte_add(offset as usize).cast()) }.ok()
}

/// Calling task.
#[inline(always)]
fn current() -> *const c_void {
    // SAFETY: the helper takes no arguments.
    unsafe { bpf_get_current_task() as *const c_void }
}

/// Effective user id of the caller.
#[inline(always)]
pub(crate) fn effective_uid() -> Option<u32> {
    let credentials: *const c_void = member(current(), offset!(task_cred))?;
    member(credentials, offset!(cred_euid))
}

/// Name of the leader of the caller's thread group.
#[inline(always)]
pub(crate) fn process_name() -> Option<[u8; TASK_NAME_LEN]> {
    let leader: *const c_void = member(current(), offset!(task_group_leader))?;
    member(leader, offset!(task_comm))
}

/// `struct sock` behind a file descriptor of the caller.
///
/// Walks `current->files->fdt->fd[fd]`, as `fget` in `fs/file.c` does, without taking references:
/// every step is a checked read, and what is read is checked again at the end of the call.
#[inline(always)]
pub(crate) fn sock_of_descriptor(descriptor: u32) -> Option<*const c_void> {
    const S_IFMT: u16 = 0o170_000;
    const S_IFSOCK: u16 = 0o140_000;
    let files: *const c_void = member(current(), offset!(task_files))?;
    let table: *const c_void = member(files, offset!(files_fdt))?;
    let capacity: u32 = member(table, offset!(fdtable_max_fds))?;
    if descriptor >= capacity {
        return None;
    }
    let array: *const c_void = member(table, offset!(fdtable_fd))?;
    let file: *const c_void = member(array, descriptor.checked_mul(8)?)?;
    let inode: *const c_void = member(file, offset!(file_inode))?;
    let mode: u16 = member(inode, offset!(inode_mode))?;
    if mode & S_IFMT != S_IFSOCK {
        return None;
    }
    let socket: *const c_void = member(file, offset!(file_private_data))?;
    member(socket, offset!(socket_sk))
}
