//! What the agent answers: one model of a port, a socket, a holder, a talker, a hook and an event,
//! used by the server and by those that ask it.

pub mod client;
pub mod port;
pub mod selftest;

/// The Unix socket of the agent.
pub const SOCKET: &str = "/run/ghostport/api.sock";
