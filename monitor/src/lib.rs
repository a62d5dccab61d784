//! ghostport: an eBPF monitor of ports where nothing should be.

pub mod agent;
pub mod catalogue;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod doctor;
pub mod event;
pub mod events;
pub mod examine;
pub mod followers;
pub mod identify;
pub mod kernel;
pub mod ledger;
pub mod logging;
pub mod lookout;
pub mod metrics;
pub mod pipeline;
mod patience;
pub mod port_view;
pub mod process;
pub mod selftest;
pub mod sinks;
pub mod snapshot;
pub mod store;
pub mod web;
mod wrap;
