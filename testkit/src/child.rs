//! Children that this thread forks.

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
