//! The filter of system calls that a running process has, taken from the process itself.

use std::io;

use libc::{c_long, c_void, pid_t, sock_filter, sock_fprog};

/// `include/uapi/linux/ptrace.h`
const PTRACE_SECCOMP_GET_FILTER: u32 = 0x420c;

/// `SECCOMP_MODE_FILTER`, as wide as the kernel reads it.
const FILTER_MODE: usize = libc::SECCOMP_MODE_FILTER as usize;

/// The filters that a thread has, the newest first. Needs CAP_SYS_ADMIN and a kernel with
/// `CONFIG_CHECKPOINT_RESTORE`.
pub(super) fn of_thread(thread: u32) -> io::Result<Vec<Vec<sock_filter>>> {
    let pid = thread as pid_t;
    // SAFETY: no memory is passed.
    outcome(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0_usize, 0_usize) })?;
    let filters = stopped_filters(pid);
    // SAFETY: no memory is passed.
    outcome(unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, 0_usize, 0_usize) })?;
    filters
}

fn stopped_filters(pid: pid_t) -> io::Result<Vec<Vec<sock_filter>>> {
    // SAFETY: no memory is passed.
    outcome(unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0_usize, 0_usize) })?;
    let mut status = 0;
    // SAFETY: the status lives through the call.
    outcome(unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) }.into())?;
    let mut filters = Vec::new();
    loop {
        match read(pid, filters.len()) {
            Ok(filter) => filters.push(filter),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(filters),
            Err(error) => return Err(error),
        }
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

/// Puts filters before the system calls of the calling thread, the oldest first.
pub(super) fn install(filters: &mut [Vec<sock_filter>]) -> io::Result<()> {
    // SAFETY: no memory is passed.
    outcome(
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_usize, 0_usize, 0_usize, 0_usize) }
            .into(),
    )?;
    for filter in filters.iter_mut().rev() {
        let program = sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: the program lives through the call.
        outcome(
            unsafe {
                libc::prctl(libc::PR_SET_SECCOMP, FILTER_MODE, &raw const program, 0_usize, 0_usize)
            }
            .into(),
        )?;
    }
    Ok(())
}

fn outcome(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
