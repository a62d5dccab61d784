//! From records, counters and scans to events.
//!
//! A thread with one queue identifies the callers of socket calls, classifies samples, feeds the
//! ledger, and emits events to the sinks, the store and the subscribers. It is a thread of its own
//! because reads of `/proc` may delay it. Meanwhile the agent moves records from the ring buffers
//! to the queue; a record that finds the queue full is counted as lost.
//!
//! The order of the queue matters: a socket call comes before the counters that count it, and
//! before the result of the scan during which it happened.

mod answered;
mod calls;
mod captures;
mod evidence_watch;
mod first_senders;
mod handle;
mod holders;
mod listener_watch;
mod message;
mod occupants;
mod outbound;
mod outputs;
mod parts;
mod progress;
mod reported_owners;
mod shared_hours;
mod shared_ledger;
mod worker;

pub use self::{
    handle::Pipeline, message::Wanted, outbound::LastSenders, parts::Parts,
    shared_hours::SharedHours, shared_ledger::SharedLedger,
};
