//! The agent under test: its configuration, its process and its output.

mod command;
mod config;
mod running;

pub use self::{
    command::{
        BINARY, PINS, binary, detach, finish, ghostport, ghostport_on_a_terminal, json, stderr,
        stdout,
    },
    config::{Config, LISTEN},
    running::{Agent, expect_sockets, is_call, repeats},
};
