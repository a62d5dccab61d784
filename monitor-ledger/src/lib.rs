//! The ledger: the state of every watched port, derived from events, counters and two clocks.
//!
//! The crate is pure. The caller passes in what happened and when, and gets [`Transition`]s back.
//! The ledger reads no clock and stores nothing; [`Ledger::take_changes`] returns what has to be
//! stored.
//!
//! # Dormancy
//!
//! A port starts dormant. It becomes dormant again after `dormant_after` of *covered* time without
//! a bind, a holder or a packet. Covered time is the time between two finished readings of the
//! counters that are at most [`MAX_READING_INTERVAL_NS`] apart; all other time is a coverage gap.
//! Durations are measured in covered time alone, so that neither a gap nor a step of the wall clock
//! can lengthen one. `dormant_for` starts when the port was found dormant. It ends at the last
//! reading before the awakening, because no later time is known to be free of packets; for a socket
//! whose bind was not observed, it ends at the last socket scan before.
//!
//! The first activity on a dormant port awakens it, once. Activity is a packet in either direction
//! and with the port at either end, a bind, a refused bind, or an open socket that a scan finds.
//! A late report of something older than the last known activity awakens nothing.
//!
//! # Gaps
//!
//! Time without an agent is not covered, but the kernel keeps counting. If counters of the same
//! [`CounterEpoch`] have grown since the ledger was saved, the first reading awakens a dormant port,
//! with the dormant time that it had before the gap. Counters of another epoch count from zero. A
//! ledger that was never saved adopts existing counts without an awakening, because their age is
//! unknown.
//!
//! A gap starts at the last save, not at the end of the agent. What an agent observed but could not
//! save before a crash is lost with it; the kernel's counters survive the crash and report it again.
//!
//! # States
//!
//! See [`PortState`]. A packet is attributed to a holder if a socket of the same protocol held the
//! port at some time since the previous reading. Traffic over loopback is never *outbound*.
//!
//! # Expected owners
//!
//! The caller says of each call, and of the sockets of each scan, whether the configuration expects
//! their owner. An awakening by an expected owner is marked as such, and sockets of other owners are
//! counted apart. An owner that is not known is neither.
//!
//! # Listeners
//!
//! Beside its ports the ledger keeps the baseline of what listens on this host: see [`listeners`].
//!
//! # The long memory
//!
//! What is kept for years, by port and day, is apart from the ledger: see [`days`].
//!
//! # Use
//!
//! Call [`Ledger::watch`] first, after [`Ledger::restore`] as well. About once a second, drain the
//! event ring, then read the counters. Every few seconds, scan all sockets. Save every few seconds
//! and after an awakening. On shutdown drain, read and save.
//!
//! ```
//! use std::time::Duration;
//! use monitor_ledger::{
//!     CallKind, Change, ClockReading, CounterEpoch, Ledger, SocketCall, Start, Watched,
//! };
//! use jiff::Timestamp;
//! use monitor_common::flow::{PortCounters, Protocol};
//!
//! let at = |seconds: u64| ClockReading {
//!     wall: Timestamp::from_second(1_700_000_000 + seconds as i64).unwrap(),
//!     boottime_ns: seconds * 1_000_000_000,
//! };
//! let counters = CounterEpoch { id: "made by this agent".into(), adopted: false };
//! let mut ledger = Ledger::new(Start { at: at(0), boot_id: "boot".into(), counters });
//! let dormant_after = Duration::from_secs(60);
//! ledger.watch([Watched { port: 2948, dormant_after, has_owners: false }], at(0));
//!
//! let mut transitions = Vec::new();
//! // From the event ring.
//! let bind = SocketCall {
//!     at: at(5),
//!     port: 2948,
//!     protocol: Protocol::Udp,
//!     kind: CallKind::Bind,
//!     expected: false,
//! };
//! ledger.record_call(&bind, &mut transitions);
//! // From the counters.
//! let mut reading = ledger.begin_reading(at(6), &mut transitions);
//! reading.traffic(2, 2948, &PortCounters::default());
//! reading.finish();
//!
//! assert!(matches!(transitions[0].change, Change::Awakened { .. }));
//! let facts = ledger.facts(2948).unwrap();
//! assert!(!facts.is_dormant() && facts.bound_sockets(Protocol::Udp) == 1);
//! ```

mod awakenings;
mod by_protocol;
mod clock;
mod counts;
mod coverage;
pub mod days;
mod facts;
mod history;
mod ledger;
pub mod listeners;
mod observation;
mod port;
mod rare_counts;
mod reading;
mod saved;
mod state;
#[cfg(test)]
mod tests;
mod transition;

pub use self::{
    clock::ClockReading,
    coverage::MAX_READING_INTERVAL_NS,
    facts::PortFacts,
    ledger::Ledger,
    observation::{CallKind, CounterEpoch, FoundHeld, Held, SocketCall, Start, Watched},
    reading::Reading,
    saved::{Changes, RestoreError, Saved, SavedPort, VERSION},
    state::PortState,
    transition::{BindEvidence, Cause, Change, Transition, Wake},
};
