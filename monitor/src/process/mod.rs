//! From a process id to the identity of the process.
//!
//! [`Joiner::identify`] takes a record of the kernel side and adds what `/proc` knows. A process is
//! identified by its id and its start time, so that a later process with the same id is not mistaken
//! for it; of a process that is gone, the record alone has name, parent, users, control group and command line.
//!
//! ```no_run
//! use ghostport::process::Joiner;
//! use monitor_common::socket_record::SocketRecord;
//!
//! // On a thread of its own, with the records that the ring buffer had:
//! fn print(records: impl Iterator<Item = SocketRecord>) {
//!     let mut joiner = Joiner::new(true);
//!     for record in records {
//!         let Some(caller) = joiner.identify(&record) else { continue };
//!         let container = caller.cgroup.as_ref().and_then(|cgroup| cgroup.container_id.as_deref());
//!         println!("{} {:?} {container:?}", caller.pid, caller.executable);
//!     }
//! }
//! ```
//!
//! A join reads some ten files of `/proc` and takes about as long as a system call each: the
//! ring buffer must be emptied by another thread meanwhile. Reading `/proc/PID/cmdline`, which a
//! join does where the kernel side captured no command line or only its beginning, waits for the
//! lock of that process's memory map, which may take as long as it likes.

pub(crate) mod birth;
mod cgroup;
mod generations;
mod identity;
mod joiner;
mod lineage;
pub(crate) mod proc_dir;
mod stat;
#[cfg(test)]
mod tests;
pub(crate) mod text;
mod users;

pub use self::{
    cgroup::{Cgroup, SystemdUnit, UnitManager},
    identity::{Ancestor, CommandLine, Executable, Identity, MAX_ANCESTORS, User},
    joiner::Joiner,
};
