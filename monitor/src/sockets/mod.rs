//! Which processes hold sockets on some ports now, in every network namespace.
//!
//! ```no_run
//! use ghostport::{process::ProcessEnricher, sockets};
//!
//! let result = sockets::scan(&[2948], &mut ProcessEnricher::new(ghostport::config::CommandLines::Masked)).expect("/proc");
//! for socket in &result.sockets {
//!     println!("{} is held by {} processes", socket.entry.local, socket.holders.len());
//! }
//! ```
//!
//! A scan reads the kernel's list of sockets in each namespace, and then searches the descriptors of
//! every process for those on the ports; where there is no such socket, no process is searched. It
//! takes CAP_SYS_ADMIN to enter other namespaces; without it their lists are read from `/proc`.
//!
//! Where the kernel side lists open sockets with their holders, no descriptors are searched, and
//! sockets in namespaces that could not be listed are found as well ([`scan_with`]).

mod acceptors;
mod addresses;
mod automatic_ports;
mod bound_interfaces;
mod captures;
mod descriptors;
mod diag;
mod expected;
mod held;
mod holders;
mod interface;
mod kernel_modules;
mod list;
mod listeners;
mod namespaces;
mod numbered;
mod occupant;
mod owner;
mod paths;
mod port_filter;
mod proc_net;
mod proxies;
mod reach;
mod scan;
mod scopes;
mod sctp;
mod socket;
mod visibility;

pub use self::{
    automatic_ports::range as automatic_ports,
    captures::{Capture, CaptureKind, CapturedPort, Queue, Scope, captures_of},
    expected::ExpectedOwners,
    interface::name as interface_name,
    kernel_modules::{lists_connections, lists_packet_filters},
    listeners::{Listeners, OpenListener, find_listeners},
    namespaces::{others as other_namespaces, own_inode as own_netns_inode},
    occupant::{Occupant, OccupantKind, RefusedBind},
    owner::{SocketOwner, owner_of},
    paths::{
        Evidence, Extent, Place, PortReach, explain as explain_answers, find as find_paths,
        find_programs, has_unread_rules, masqueraded, programs_that_choose_sockets,
        tables_are_readable,
    },
    proxies::{Forwarding, Proxy, find as find_forwardings, target as proxy_target},
    reach::{Path, Reach, Standing},
    scan::{ScanResult, Unseen, scan, scan_with},
    socket::{Entry, Socket, SocketScope, TcpState, on_port},
    visibility::HiddenProcesses,
};
#[cfg(test)]
pub(crate) use self::{captures::packet_socket, socket::udp_socket};
