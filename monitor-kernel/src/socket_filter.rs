//! The filter of a socket that another process has open.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// Most instructions of a classic BPF program, `BPF_MAXINSNS`.
const MAX_INSTRUCTIONS: usize = 4096;

/// Bytes of `struct sock_filter`.
const INSTRUCTION_LEN: usize = 8;

/// `SO_GET_FILTER`, `include/uapi/asm-generic/socket.h`.
const GET_FILTER: libc::c_int = 26;

/// What a socket has for a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketFilter {
    /// It takes everything.
    None,
    /// A classic BPF program: its `struct sock_filter`s.
    Classic(Vec<u8>),
    /// An eBPF program, which cannot be read.
    Ebpf,
}

/// The filter of the socket behind descriptor `descriptor` of process `pid`.
///
/// The descriptor is duplicated for the moment (`pidfd_getfd(2)`, Linux 5.6), which takes the
/// permission to trace the process.
///
/// # Errors
///
/// The process has ended, may not be traced, or has closed the descriptor.
pub fn of_process(pid: u32, descriptor: i32) -> io::Result<SocketFilter> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = pidfd_open(pid.ok_or(io::ErrorKind::InvalidInput)?, PidfdFlags::empty())?;
    let socket: OwnedFd = pidfd_getfd(process, descriptor, PidfdGetfdFlags::empty())?;
    of(&socket)
}

fn of(socket: &impl AsFd) -> io::Result<SocketFilter> {
    let mut program = vec![0; MAX_INSTRUCTIONS * INSTRUCTION_LEN];
    // Instructions, not bytes (`sk_get_filter` in net/core/filter.c).
    let mut count = MAX_INSTRUCTIONS as libc::socklen_t;
    // SAFETY: the kernel writes at most as many instructions as `count` says, and there is room.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            GET_FILTER,
            program.as_mut_ptr().cast(),
            &raw mut count,
        )
    };
    if result == 0 {
        program.truncate(count as usize * INSTRUCTION_LEN);
        let is_empty = program.is_empty();
        return Ok(if is_empty { SocketFilter::None } else { SocketFilter::Classic(program) });
    }
    let error = io::Error::last_os_error();
    // A program that was not made from a classic one.
    if error.raw_os_error() == Some(libc::EACCES) { Ok(SocketFilter::Ebpf) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    /// Any packet, its first 99 bytes.
    const ACCEPT: libc::sock_filter = libc::sock_filter { code: 6, jt: 0, jf: 0, k: 99 };

    #[test]
    fn reads_the_filter_of_a_socket_of_this_process() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let filter = || of_process(std::process::id(), socket.as_raw_fd()).expect("a filter");
        assert_eq!(filter(), SocketFilter::None);
        let mut instruction = ACCEPT;
        let program = libc::sock_fprog { len: 1, filter: &raw mut instruction };
        // SAFETY: the program and its instruction outlive the call, which only reads them.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const program).cast(),
                size_of::<libc::sock_fprog>() as u32,
            )
        };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        let SocketFilter::Classic(program) = filter() else { panic!("no classic program") };
        assert_eq!(program.len(), INSTRUCTION_LEN);
    }
}
