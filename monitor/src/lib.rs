//! ghostport: an eBPF monitor of ports where nothing should be.

pub mod agent;
pub mod api;
pub mod catalogue;
pub mod classification;
pub mod cli;
pub mod commands;
pub mod config;
pub mod event;
pub mod formats;
pub mod history;
pub mod listeners;
mod lock;
pub mod metrics;
pub mod process;
pub mod schema;
pub mod secrets;
pub mod sinks;
pub mod sockets;
pub mod store;
pub mod summaries;
pub mod terminal;
pub mod web;
