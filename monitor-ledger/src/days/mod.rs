//! The long memory: what happened on each port on each day, who held it, and for which time anything is
//! known. It is kept for years, so each part of it is small and bounded.
//!
//! A [`Chronicle`] takes the same observations as the ledger and collects what is not saved yet. A save
//! takes [`ChronicleChanges`]: additions to days, which the store merges into what it has, and
//! *cursors*, the counters up to which they count. Both are saved together or not at all. A start
//! resumes with the saved cursors: what the kernel counted after the last save is added then, and
//! nothing twice. Counters of another epoch, and those that shrank, count from zero; existing counters
//! without a cursor are adopted without being counted, because their age is unknown.
//!
//! # Days
//!
//! Days are UTC. What a reading of the counters finds belongs to the day of that reading by the wall
//! clock, also if that was stepped: a step moves counts to another day, and loses or doubles none. What
//! the kernel counted while no agent ran belongs to the day of the first reading after. The addresses of
//! a sketch belong to the day on which its window of 100 seconds began.
//!
//! # Coverage
//!
//! Covered time is that of the ledger: between readings that are at most
//! [`MAX_READING_INTERVAL_NS`](crate::MAX_READING_INTERVAL_NS) apart. All other time is a [`Gap`].

mod chronicle;
mod cursors;
mod day;
mod distinct;
mod encode;
mod holding;
mod leaders;
mod record;
mod saved;
#[cfg(test)]
mod tests;

pub use self::{
    chronicle::Chronicle,
    cursors::{Cursor, Series, SeriesKind, TalkerCursor},
    day::Day,
    distinct::{Distinct, SeedTag},
    encode::{DamagedDay, MAX_DAY_BYTES},
    holding::{Holder, Holding, Known},
    leaders::{Count, Leaders},
    record::{
        BindCount, Calls, DayRecord, MOST_PROGRAMS, MOST_TALKERS, MOST_VERDICTS, Program,
        TalkerCount,
    },
    saved::{ChronicleChanges, Gap, HostDay, SavedChronicle, StateChange, WatchChange},
};
