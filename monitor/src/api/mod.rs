//! What a running agent says over its API: one serde model of a port, a socket, a holder, a talker, a
//! hook and an event, written by the server and read by the commands that ask it.

pub mod agent;
pub mod alarm;
pub mod capture;
pub mod client;
pub mod end;
pub mod event;
pub mod evidence;
mod fold;
pub mod forwarding;
pub mod history;
pub mod hook;
pub mod listener;
mod named;
pub mod port;
pub mod reach;
pub mod report;
pub mod selftest;
pub mod sender;
pub mod server;
pub mod socket;
pub mod talker;
pub mod then;

/// The Unix socket of the agent.
pub const SOCKET: &str = "/run/ghostport/api.sock";
