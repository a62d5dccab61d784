//! Listeners on all ports that the configuration names, whether these are watched or not.
//!
//! A listener is a TCP or SCTP socket that listens, or a UDP or UDP-Lite socket that was bound to a port
//! of its program's choice. The kernel side reports each one that is opened or closed
//! ([`ListenerChange`]).

mod change;
mod overview;
mod program;

pub use self::{
    change::{ListenerChange, ListenerSocket, ListenerTurn},
    overview::{JudgedListener, ListenerCounts, ListenerOverview, MAX_UNEXPECTED, SharedOverview},
    program::{as_learned, as_opened, opener, program_of},
};
