//! The filter of system calls that a running process has put before its own, taken from the process.

use std::io;

use libc::{c_long, c_void, pid_t, sock_filter, sock_fprog};

/// `include/uapi/linux/ptrace.h`
const PTRACE_SECCOMP_GET_FILTER: u32 = 0x420c;

/// `SECCOMP_MODE_FILTER`, as wide as the kernel reads it.
const FILTER_MODE: usize = libc::SECCOMP_MODE_FILTER as usize;

/// The newest filter of a thread: the one that it has installed itself. Those that it inherited, in a
/// sandbox for example, its siblings have as well. Needs CAP_SYS_ADMIN and a kernel with
/// `CONFIG_CHECKPOINT_RESTORE`.
pub(super) fn of_thread(thread: u32) -> io::Result<Vec<sock_filter>> {
    let pid = thread as pid_t;
    // SAFETY: no memory is passed.
    outcome(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0_usize, 0_usize) })?;
    let filter = stopped_filter(pid);
    // SAFETY: no memory is passed.
    outcome(unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, 0_usize, 0_usize) })?;
    filter
}

fn stopped_filter(pid: pid_t) -> io::Result<Vec<sock_filter>> {
    // SAFETY: no memory is passed.
    outcome(unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0_usize, 0_usize) })?;
    let mut status = 0;
    // SAFETY: the status lives through the call.
    outcome(unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) }.into())?;
    // They are numbered from the oldest on.
    let (mut newest, mut number) = (read(pid, 0)?, 1);
    loop {
        newest = match read(pid, number) {
            Ok(filter) => filter,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(newest),
            Err(error) => return Err(error),
        };
        number += 1;
    }
}

fn read(pid: pid_t, index: usize) -> io::Result<Vec<sock_filter>> {
    let nothing = std::ptr::null_mut::<c_void>();
    // SAFETY: without a buffer the kernel returns the length alone.
    let length = outcome(unsafe { libc::ptrace(PTRACE_SECCOMP_GET_FILTER, pid, index, nothing) })?;
    let mut filter = vec![sock_filter { code: 0, jt: 0, jf: 0, k: 0 }; length as usize];
    // SAFETY: the buffer has room for as many instructions as the kernel said.
    outcome(unsafe { libc::ptrace(PTRACE_SECCOMP_GET_FILTER, pid, index, filter.as_mut_ptr()) })?;
    Ok(filter)
}

/// Puts a filter before the system calls of the calling thread.
pub(super) fn install(filter: &mut [sock_filter]) -> io::Result<()> {
    // SAFETY: no memory is passed.
    let gave_up =
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_usize, 0_usize, 0_usize, 0_usize) };
    outcome(gave_up.into())?;
    let program = sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    let program = &raw const program;
    // SAFETY: the program lives through the call.
    let installed =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, FILTER_MODE, program, 0_usize, 0_usize) };
    outcome(installed.into()).map(drop)
}

fn outcome(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
