//! The agent: connects the kernel side, the pipeline, the sinks, the store and the web server.
//!
//! [`run()`] is its life: `start.rs` opens what takes privileges and gives them up, `run_loop.rs` is
//! the work, `reload.rs` and `shutdown.rs` what signals ask for. Its runtime has one thread, so
//! that what takes long is done on others.

mod alert_usage;
mod answers;
mod attachment;
mod bounded_wait;
mod capture_looks;
mod clock;
mod known_reaches;
mod local_addresses;
mod options;
mod own_user;
pub mod pipeline;
mod recent_captures;
mod reload;
mod run;
mod run_loop;
mod scan;
mod selftest;
mod selftests;
mod service_manager;
mod shutdown;
mod signals;
mod socket_scanner;
mod start;
mod state;

use crate::lock;

pub use self::{options::Options, run::run};
