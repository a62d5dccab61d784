//! The system calls that a process keeps: seccomp filters with a list of what is allowed.
//!
//! Everything else fails with `EPERM` and is logged by the kernel's audit (type 1326). A filter stays
//! for good, and every thread that is started later has it. Lists are complete for glibc and musl.

mod calls;
mod filter;
mod role;
#[cfg(test)]
mod tests;

use std::io;

use rustix::thread::set_no_new_privs;

use self::filter::{Filter, Refusals};
pub use self::role::Role;

/// Leaves this thread, and those that it will start, only the system calls of a role. To be called
/// while there is no other thread.
///
/// # Errors
/// The kernel has no seccomp filters (`CONFIG_SECCOMP_FILTER`), or this machine is of another
/// architecture than x86-64 and arm64.
pub fn confine(role: Role) -> io::Result<()> {
    set_no_new_privs(true)?;
    // The list comes last, because it allows no further filter. Of two answers the kernel takes the
    // one that allows less.
    if role == Role::Agent {
        Filter::without_clone3()?.install(Refusals::Silent)?;
    }
    Filter::allowing(calls::of(role))?.install(Refusals::Logged)
}
