//! Which events are emitted one by one, and which are summed up.
//!
//! Pure: events and clock readings in, events out. Of events alike the first is emitted as it is.
//! Those after it are counted, and their sum is emitted as a `summary` after five minutes, then
//! after ten, and so on up to an hour. Two identified conversations are alike if port, protocol,
//! direction, verdict, grade and the network of the peer are the same; two socket calls, if kind,
//! socket, result and program are. Other events are never alike.
//!
//! Binds of owners that the configuration expects have a summary a day besides.
//!
//! Memory is bounded, and each user has a share of it. What is beyond is summed up by user, port,
//! protocol, and kind or verdict, so that nothing goes uncounted, and the calls of one user never
//! keep those of another from being emitted.

mod expected;
mod group;
mod groups;
mod key;
mod peers;
mod processes;
mod sum;
mod summarizer;
#[cfg(test)]
mod tests;

pub use self::{expected::ExpectedActivity, summarizer::Summarizer};
