//! What a process that was taken over would call.

use std::{io, ptr};

/// A call, which is about a process where it takes one. It returns what the kernel says.
pub type Attack = fn(u32) -> io::Result<()>;

/// Calls, by name, that return what the kernel says. None does harm where it is not refused, but for
/// the execution, which ends the caller.
pub const CALLS: [(&str, Attack); 8] = [
    ("ptrace", trace),
    ("process_vm_writev", write_memory),
    ("process_vm_readv", read_memory),
    ("setns", enter_namespace),
    ("unshare", leave_namespaces),
    ("keyctl", find_keyring),
    ("socket(AF_PACKET)", capture_packets),
    ("mmap(W|X)", make_code),
];

fn outcome(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Attaches to a process, which is not stopped by that.
fn trace(pid: u32) -> io::Result<()> {
    // SAFETY: no memory is passed.
    outcome(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid as libc::pid_t, 0_usize, 0_usize) })
}

/// Writes nothing to an address that is not there: permission is checked first.
fn write_memory(pid: u32) -> io::Result<()> {
    touch_memory(pid, libc::SYS_process_vm_writev)
}

/// Reads nothing.
fn read_memory(pid: u32) -> io::Result<()> {
    touch_memory(pid, libc::SYS_process_vm_readv)
}

fn touch_memory(pid: u32, call: libc::c_long) -> io::Result<()> {
    let mut byte = 0u8;
    let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let remote = libc::iovec { iov_base: ptr::null_mut(), iov_len: 1 };
    // SAFETY: the local vector is one byte that outlives the call.
    let result = unsafe {
        let pid = i64::from(pid);
        libc::syscall(call, pid, &raw const local, 1_usize, &raw const remote, 1_usize, 0_usize)
    };
    match outcome(result) {
        // The process may be touched; there is nothing at its address 0.
        Err(error) if error.raw_os_error() == Some(libc::EFAULT) => Ok(()),
        outcome => outcome,
    }
}

/// Enters the network namespace of a process.
fn enter_namespace(pid: u32) -> io::Result<()> {
    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net"))?;
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&namespace);
    // SAFETY: no memory is passed.
    outcome(unsafe { libc::setns(descriptor, libc::CLONE_NEWNET) }.into())
}

fn leave_namespaces(_: u32) -> io::Result<()> {
    // SAFETY: no memory is passed.
    outcome(unsafe { libc::unshare(libc::CLONE_NEWUTS) }.into())
}

fn find_keyring(_: u32) -> io::Result<()> {
    const GET_KEYRING_ID: libc::c_long = 0;
    const PROCESS_KEYRING: libc::c_long = -2;
    const CREATE: libc::c_long = 1;
    // SAFETY: no memory is passed.
    outcome(unsafe { libc::syscall(libc::SYS_keyctl, GET_KEYRING_ID, PROCESS_KEYRING, CREATE) })
}

fn capture_packets(_: u32) -> io::Result<()> {
    // SAFETY: no memory is passed; the descriptor ends with the test.
    outcome(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM, 0) }.into())
}

fn make_code(_: u32) -> io::Result<()> {
    let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, of which nothing knows.
    let address = unsafe { libc::mmap(ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}
