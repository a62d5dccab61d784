//! ghostport: an eBPF monitor of ports where nothing should be.

pub mod agent;
pub mod catalogue;
pub mod cli;
pub mod clock;
pub mod config;
pub mod doctor;
pub mod event;
pub mod examine;
pub mod identify;
pub mod kernel;
pub mod logging;
pub mod metrics;
pub mod sinks;
pub mod snapshot;
pub mod web;
mod wrap;
