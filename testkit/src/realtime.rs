//! Threads with a priority, on a CPU of the test's choice.

use std::io;

use rustix::thread::{CpuSet, sched_setaffinity};

/// Pins the calling thread to a CPU, and gives it a priority of the policy `SCHED_FIFO`, from 1 to 99:
/// it runs as soon as it can, whatever threads of lower priority are doing.
pub fn enter(cpu: usize, priority: i32) -> io::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus)?;
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: the parameters live through the call. 0 is the calling thread.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether the kernel is built with `CONFIG_PREEMPT_RT`.
pub fn is_realtime_kernel() -> bool {
    rustix::system::uname().version().to_bytes().windows(10).any(|part| part == b"PREEMPT_RT")
}
