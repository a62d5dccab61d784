//! Sinks: the places that events are sent to. Every sink has a bounded queue and a thread.
//!
//! A queue never blocks its caller: an event that finds it full is dropped and counted. So a sink
//! that hangs, such as a pipe without a reader or a server that does not answer, delays neither the
//! other sinks nor the agent nor its exit.
//!
//! Each thread has a runtime of its own, on which it waits for its queue and, for a remote sink, for
//! its receiver. It may block, because no other sink uses it.

mod alertmanager;
mod backoff;
mod dispatch;
mod error;
mod file;
mod headers;
mod http;
mod journal;
mod local;
mod losses;
mod otlp;
mod pace;
mod queue;
mod remote;
mod retry;
mod rotation;
mod sentence;
mod syslog;
mod syslog_severity;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod webhook;
mod worker;

pub use self::{
    alertmanager::{IsInUse, Usage},
    dispatch::{EventQueue, PreparedSinks, open},
    error::SinkError,
    worker::Sink,
};
