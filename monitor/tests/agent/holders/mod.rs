//! `ghostport check` from the outside, on real sockets of real processes: who holds a port or talks
//! on it, wherever they are and however they came by the socket.

mod command;
mod processes;
mod scopes;
mod sockets;
mod support;
mod visibility;
