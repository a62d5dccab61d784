//! The last hour of watched ports: packets, binds and states, second by second for five minutes and in
//! steps of ten seconds before (pure).
//!
//! It is fed by the readings of the counters that the ledger takes every second, so it wakes nothing
//! and asks the kernel for nothing. Memory is bounded: 12.8 KiB for each port, `hours::MAX_PORTS`
//! ports at most.

mod bucket;
mod growth;
mod hours;
mod ring;
#[cfg(test)]
mod tests;

pub use self::hours::Hours;
