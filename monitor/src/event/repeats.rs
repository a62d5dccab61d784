//! What an event stands for beside itself.

use jiff::Timestamp;

/// The alike events that one event stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeats {
    /// How many they are.
    pub count: u64,
    /// When the first of them happened.
    pub first: Timestamp,
    /// When the last of them happened.
    pub last: Timestamp,
}

impl Repeats {
    /// One event.
    pub const fn one(time: Timestamp) -> Self {
        Self { count: 1, first: time, last: time }
    }

    /// These events and the others.
    pub fn and(self, others: Self) -> Self {
        Self {
            count: self.count.saturating_add(others.count),
            first: self.first.min(others.first),
            last: self.last.max(others.last),
        }
    }
}
