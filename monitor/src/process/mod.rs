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
//! must be read on another thread. What may wait for the process or for a file system, as
//! `/proc/PID/cmdline`, is read on further threads and given up after a while (`bounded_read.rs`): it
//! is unknown then.

pub(crate) mod bounded_read;
mod cgroup;
mod enricher;
pub(crate) mod evidence;
mod file_numbers;
pub(crate) mod foreign_path;
mod generations;
mod host_files;
mod hosts_namespaces;
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
mod wait_budget;

pub use self::{
    bounded_read::{AbandonedReads, abandoned_reads},
    cgroup::{Cgroup, SystemdUnit, UnitManager},
    enricher::ProcessEnricher,
    evidence::{
        Evidence, ExecutableFacts, FileFacts, Inspected, Inspector, Package, PackageManager,
        Purpose,
    },
    host_files::HostFiles,
    identity::{Ancestor, CommandLine, Executable, Identity, MAX_ANCESTORS, User},
    users::group_name,
};
