//! The baseline of listeners: what always listens on this host, and what does not.
//!
//! A [`Listener`] is known by what stays the same across restarts: protocol, port, scope, and its
//! [`Program`]. Whatever listens while the baseline is learned becomes part of it. Afterwards a
//! listener that is in no entry of the baseline is [`Novelty::New`], or [`Novelty::Changed`] where the
//! baseline has another program or scope for the port. It is kept as an entry *outside* of the
//! baseline, so that it is reported once, however often it is restarted.
//!
//! # Learning
//!
//! Learning lasts for a covered time in which listeners are watched, and at least until the first scan
//! of all sockets has ended. Neither a gap nor a step of the wall clock shortens it.
//!
//! # What is not known
//!
//! A process that ends at once leaves its user and control group, and may leave no executable. A field
//! that is unknown on one side differs from nothing, if executable, unit or container is known to be
//! the same.
//!
//! # Bounds
//!
//! An entry keeps [`MAX_PORTS`] ports, and beyond these a range. There are at most [`MAX_ENTRIES`]
//! entries in and as many outside of the baseline; further ones take the place of those that were seen
//! the longest ago. [`NewsGroups`] makes one event of what a program does on many ports.

mod baseline;
mod entry;
mod groups;
mod identity;
mod kept;
mod news;
mod ports;
#[cfg(test)]
mod tests;

pub use self::{
    baseline::{Baseline, MAX_ENTRIES, Moment, Observation, SavedBaseline, Settings},
    entry::{Entry, Standing},
    groups::{GroupedNews, NewsGroups, Noticed},
    identity::{KERNEL, Listener, Program, Scope},
    news::{Difference, Field, News, Novelty},
    ports::{KnownPorts, MAX_PORTS, PortRecord},
};
