//! Where events go: every sink has a bounded queue of its own and a thread that empties it.
//!
//! A queue never makes its caller wait: an event that finds it full is counted and dropped. A sink
//! that hangs, as a pipe that nobody reads or a server that does not answer, holds up neither the
//! others nor the agent nor its exit.
//!
//! A thread has a runtime of its own, on which it waits for its queue and, if it is elsewhere, for
//! its receiver. It may block: nobody shares it.

mod alertmanager;
mod backoff;
mod dispatch;
mod error;
mod file;
mod http;
mod journal;
mod local;
mod losses;
mod otlp;
mod queue;
mod remote;
mod sentence;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod webhook;
mod worker;

pub use self::{
    alertmanager::IsAwake,
    dispatch::{EventQueue, PreparedSinks, open},
    error::SinkError,
    worker::Sink,
};
