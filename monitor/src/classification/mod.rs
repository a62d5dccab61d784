//! Classification of the traffic on the watched ports: from sampled packets to findings.
//!
//! Pure: samples and clock readings in, findings out. [`Classifier`] identifies a payload at once,
//! or, if it says little and was short, together with the segments behind it.
//! It holds a connection attempt back until something follows it, because a scan is an attempt that
//! nothing follows. [`Tallies`] counts the findings of each port.

mod ages;
mod classifier;
mod finding;
mod flights;
mod tallies;
#[cfg(test)]
mod tests;
mod view;

pub use self::{
    classifier::Classifier,
    finding::{Finding, Kept, PayloadFacts},
    tallies::{Tallies, Tally},
    view::sender,
};
