//! A watched port, and when it counts as dormant.

use std::time::Duration;

use super::expect::Expectation;

/// Quiet covered time after which a port is dormant unless the configuration says otherwise.
pub const DEFAULT_DORMANT_AFTER: Duration = Duration::from_secs(7 * 86_400);

/// A port that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedPort {
    /// Its number, never 0.
    pub number: u16,
    /// Quiet covered time after which it counts as dormant; whole seconds, at least one.
    pub dormant_after: Duration,
    /// The processes that may bind it. Empty by default, which allows none: a port is watched
    /// because nothing should be there.
    pub expect: Vec<Expectation>,
}

impl WatchedPort {
    /// The port that is written as a number alone.
    pub const fn new(number: u16) -> Self {
        Self { number, dormant_after: DEFAULT_DORMANT_AFTER, expect: Vec::new() }
    }
}
