//! Children that this thread makes, and what only a new child can do.

use std::{
    io::IoSliceMut,
    mem::{ManuallyDrop, MaybeUninit},
    os::{
        fd::{BorrowedFd, FromRawFd as _, IntoRawFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::Command,
};

use rustix::{
    io::dup2,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
};

/// Runs `work` in a child with nothing but system calls, for only this thread is in it; ports have
/// to be known before, because they depend on the process. Returns its process id; `None` if `work`
/// says that it cannot be done here.
pub fn forked(work: impl FnOnce() -> bool) -> Option<u32> {
    // SAFETY: until it ends, the child makes system calls and touches no lock of another thread.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            let code = if work() { 0 } else { 1 };
            // SAFETY: ends the child at once, without what the test program does at its end.
            unsafe { libc::_exit(code) }
        }
        child => {
            let mut status = 0;
            // SAFETY: the status lives through the call.
            let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert_eq!(waited, child, "{}", std::io::Error::last_os_error());
            let done = libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
            done.then_some(child.cast_unsigned())
        }
    }
}

/// Leaves a descriptor open for as long as this process lives.
pub fn left_open(descriptor: OwnedFd) -> BorrowedFd<'static> {
    // SAFETY: nothing owns the descriptor any more, so nothing closes it.
    unsafe { BorrowedFd::borrow_raw(descriptor.into_raw_fd()) }
}

/// Makes a command wait for a descriptor that is passed over a socket, and use it as its standard
/// input.
pub fn take_stdin_from(command: &mut Command, socket: UnixStream) {
    // SAFETY: system calls alone, no memory is allocated and no lock is taken.
    unsafe { command.pre_exec(move || Ok(receive_stdin(&socket)?)) };
}

fn receive_stdin(from: &UnixStream) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut room = [IoSliceMut::new(&mut byte)];
    recvmsg(from, &mut room, &mut ancillary, RecvFlags::empty())?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            for descriptor in descriptors {
                // SAFETY: nothing else in this child uses its standard input, which is not closed.
                let mut stdin = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(0) });
                dup2(&descriptor, &mut stdin)?;
            }
        }
    }
    Ok(())
}
