//! Sockets that take packets of watched ports without holding the port: packet, raw and AF_XDP
//! sockets.
//!
//! The kernel lists the filter of a packet socket, a classic BPF program. It is tried on packets of
//! every watched port and of every other one: a socket that takes packets of watched ports and no
//! others looks for them, as a backdoor does that waits for its packet. One that takes everything is
//! a capture, such as tcpdump's.

mod capture;
mod classic_bpf;
mod diag;
#[cfg(test)]
mod filters;
mod frame;
mod list;
mod look;
mod proc_net;
mod scope;
mod search;

#[cfg(test)]
pub(crate) use self::capture::packet_socket;
pub use self::{
    capture::{Capture, CaptureKind, Queue},
    look::captures_of,
    scope::{CapturedPort, Scope},
};
pub(super) use self::{
    list::{ListedCapture, here, of_folder},
    search::Candidates,
};
