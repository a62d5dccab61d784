//! The identity of processes.
//!
//! [`ProcessEnricher::identify`] takes a record of the kernel side and adds what `/proc` has. A
//! process is identified by its id and start time, so that one that reuses the id of another is
//! never taken for it. Of a process that has ended, the record alone has name, parent, users,
//! control group and command line.
//!
//! ```no_run
//! use ghostport::process::ProcessEnricher;
//! use monitor_common::socket_record::SocketRecord;
//!
//! // On a thread of its own, with the records that the ring buffer had:
//! fn print(records: impl Iterator<Item = SocketRecord>) {
//!     let mut enricher = ProcessEnricher::new(ghostport::config::CommandLines::Masked);
//!     for record in records {
//!         let Some(caller) = enricher.identify(&record) else { continue };
//!         let container = caller.cgroup.as_ref().and_then(|cgroup| cgroup.container_id.as_deref());
//!         println!("{} {:?} {container:?}", caller.pid, caller.executable);
//!     }
//! }
//! ```
//!
//! To identify a process takes some ten files of `/proc`, about a system call each: the ring buffer
//! must be read on another thread. Reading `/proc/PID/cmdline`, which is done if the kernel side
//! captured no command line or only its beginning, waits for the lock of that process's memory map
//! without a bound.

mod cgroup;
mod enricher;
mod generations;
mod identity;
mod lineage;
pub(crate) mod pod;
pub(crate) mod proc_dir;
pub(crate) mod start_time;
mod stat;
#[cfg(test)]
mod tests;
pub(crate) mod text;
mod users;

pub use self::{
    cgroup::{Cgroup, SystemdUnit, UnitManager},
    enricher::ProcessEnricher,
    identity::{Ancestor, CommandLine, Executable, Identity, MAX_ANCESTORS, User},
};
