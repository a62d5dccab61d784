//! Attaches each hook by the best mechanism that works, adopts the hooks of an earlier agent, and
//! detaches those that are no longer wanted.

mod attached;
mod losses;
mod sockets;
mod state;
mod traffic;

pub use self::state::Attacher;
