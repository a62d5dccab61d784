//! The kernel side as the agent uses it, and the only user of aya.
//!
//! [`Kernel`] owns the maps, the hooks and the pins; no other package handles a map or a link.
//! [`Streams`] delivers socket calls and samples, decoded. `programs` is the table of the programs
//! that serve each hook by each mechanism.

mod address_maps;
mod adoption;
mod attach_error;
mod attacher;
pub mod bpffs;
mod btf;
mod call_sums;
pub mod candidates;
pub mod capabilities;
mod capture_watch;
pub mod cgroup;
mod cleanup;
pub mod clock;
mod clsact;
pub mod confinement;
mod counters;
pub mod driver;
pub mod events;
mod flat;
mod generations;
mod holders;
pub mod hooks;
mod host_constraints;
pub mod interface_name;
pub mod interfaces;
mod kernel;
pub mod limits;
mod link_kind;
mod links;
mod listener_ports;
mod loading;
pub mod local_addresses;
pub mod lockdown;
mod log;
mod map_error;
mod mapped;
pub mod mechanism;
pub mod memory;
mod modes;
pub mod netlink;
mod network_changes;
mod object;
mod options;
pub mod other_programs;
mod outer_maps;
pub mod own_folder;
pub mod own_user;
mod ownership;
pub mod pin_folder;
mod pin_garbage;
mod pinned;
mod pinned_maps;
pub mod pins;
mod preemption;
mod program_loader;
mod programs;
mod rare;
mod readable;
pub mod record;
mod ring;
pub mod running;
pub mod runs;
pub mod samples;
mod sampling;
mod sections;
pub mod selftest;
pub mod snapshot;
mod socket_access;
pub mod socket_filter;
pub mod socket_maps;
pub mod sources;
pub mod sys;
mod tc;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time_namespace;
pub mod topology;
pub mod tracefs;
pub mod trial;
pub mod wait;

pub use self::{
    btf::KernelTypes,
    cleanup::detach_everything,
    holders::OpenSockets,
    kernel::{Kernel, StartError},
    log::KernelLog,
    object::KernelLogLevel,
    options::{Options, Streams},
};
