//! Binds, listens and connects by io_uring, which no tracepoint of the system call sees.

use std::{
    io,
    net::SocketAddrV4,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    ptr,
    sync::atomic::{AtomicU32, Ordering},
};

/// `struct io_uring_params`, `include/uapi/linux/io_uring.h`.
#[repr(C)]
#[derive(Default)]
struct Params {
    entries: [u32; 2],
    flags: u32,
    thread: [u32; 2],
    features: u32,
    workers: u32,
    reserved: [u32; 3],
    submission: [u32; 10],
    completion: [u32; 10],
}

/// `struct io_uring_sqe`, as far as these calls need it.
#[repr(C)]
#[derive(Default)]
struct Submission {
    operation: u8,
    flags: u8,
    priority: u16,
    descriptor: i32,
    /// Of a bind and a connect the length of the address.
    offset: u64,
    address: u64,
    /// Of a listen the backlog.
    len: u32,
    call_flags: u32,
    rest: [u64; 4],
}

const RING_BYTES: usize = 4096;

/// How the bind ended: 0 or an error number. `None` where io_uring cannot do it.
pub fn bind(socket: &OwnedFd, address: SocketAddrV4) -> Option<i32> {
    const BIND: u8 = 56;
    call(BIND, socket, address)
}

/// How the connect ended, likewise.
pub fn connect(socket: &OwnedFd, address: SocketAddrV4) -> Option<i32> {
    const CONNECT: u8 = 16;
    call(CONNECT, socket, address)
}

/// How the listen ended, likewise.
pub fn listen(socket: &OwnedFd) -> Option<i32> {
    const LISTEN: u8 = 57;
    submit(Submission {
        operation: LISTEN,
        descriptor: socket.as_raw_fd(),
        len: 1,
        ..Submission::default()
    })
}

fn call(operation: u8, socket: &OwnedFd, address: SocketAddrV4) -> Option<i32> {
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
        sin_zero: [0; 8],
    };
    submit(Submission {
        operation,
        descriptor: socket.as_raw_fd(),
        offset: size_of_val(&address) as u64,
        address: (&raw const address) as u64,
        ..Submission::default()
    })
}

fn submit(submission: Submission) -> Option<i32> {
    const GET_EVENTS: u32 = 1;
    const SUBMISSIONS_AT: i64 = 0x1000_0000;
    let mut params = Params::default();
    // SAFETY: the record lives through the call and is of the kernel's size.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, &raw mut params) };
    if ring < 0 {
        return None;
    }
    // SAFETY: the descriptor was just made, and nothing else owns it.
    let ring = unsafe { OwnedFd::from_raw_fd(ring as i32) };
    let indices = map(&ring, 0);
    let submissions = map(&ring, SUBMISSIONS_AT);
    let [_, tail, ..] = params.submission;
    let [.., completions, _, _, _, _] = params.completion;
    // SAFETY: the kernel said where in the mapped rings the first entries and the tail are, and
    // nothing else uses this ring. The mappings stay until the process ends.
    unsafe {
        submissions.cast::<Submission>().write(submission);
        let tail = indices.byte_add(tail as usize).cast::<AtomicU32>();
        (*tail).store(1, Ordering::Release);
        let entered = libc::syscall(
            libc::SYS_io_uring_enter,
            ring.as_raw_fd(),
            1,
            1,
            GET_EVENTS,
            ptr::null::<u8>(),
            0,
        );
        assert_eq!(entered, 1, "io_uring_enter: {}", io::Error::last_os_error());
        // struct io_uring_cqe: user data of eight bytes, then the result
        let result = indices.byte_add(completions as usize + 8).cast::<i32>().read_volatile();
        (result != -libc::EINVAL).then_some(-result)
    }
}

fn map(ring: &OwnedFd, offset: i64) -> *mut u8 {
    // SAFETY: a fresh mapping, at an address of the kernel's choice.
    let memory = unsafe {
        libc::mmap(
            ptr::null_mut(),
            RING_BYTES,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            ring.as_raw_fd(),
            offset,
        )
    };
    assert_ne!(memory, libc::MAP_FAILED, "io_uring: {}", io::Error::last_os_error());
    memory.cast()
}
