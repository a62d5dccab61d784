//! A day of the calendar, UTC.

use std::fmt;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};

const SECONDS: i64 = 86_400;

/// A day, UTC: days of hosts in several zones are the same, and each has 24 hours.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Day(
    /// Days since 1970-01-01.
    pub i32,
);

impl Day {
    /// The day of a time.
    pub fn of(time: Timestamp) -> Self {
        // The calendar of `Timestamp` ends in the year 9999.
        Self(i32::try_from(time.as_second().div_euclid(SECONDS)).unwrap_or(i32::MAX))
    }

    /// Its first moment.
    pub fn begin(self) -> Timestamp {
        Timestamp::from_second(i64::from(self.0) * SECONDS).unwrap_or(Timestamp::MAX)
    }

    /// The day after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    fn date(self) -> Date {
        TimeZone::UTC.to_datetime(self.begin()).date()
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.date().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_utc() {
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        let day = Day::of(time("2026-11-20T23:59:59.999Z"));
        assert_eq!(day.to_string(), "2026-11-20");
        assert_eq!(day.begin(), time("2026-11-20T00:00:00Z"));
        assert_eq!(Day::of(time("2026-11-21T00:00:00Z")), day.next());
        assert_eq!(Day::of(time("1969-12-31T23:00:00Z")), Day(-1));
    }
}
