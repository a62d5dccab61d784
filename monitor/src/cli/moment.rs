//! A moment on the command line.

use std::time::Duration;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use crate::config::quantity;

/// What [`Moment::parse`] takes.
const EXPECTED: &str = "how long ago it was, as 7d or 1h30m, a date or a time of this machine's zone, as \
    2026-11-20 or \"2026-11-20 03:00\", or a time with its zone, as 2026-11-20T03:00:00Z";

/// A moment, counted from now or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// This long ago.
    Ago(Duration),
    /// At this time of day.
    At(Timestamp),
}

impl Moment {
    /// Parses a duration, a date, a time of the local zone, or a time with a zone (RFC 3339).
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(duration) = quantity::parse_duration(text) {
            return Ok(Self::Ago(duration));
        }
        if let Ok(time) = text.parse() {
            return Ok(Self::At(time));
        }
        let local = text.parse::<DateTime>().and_then(|time| time.to_zoned(TimeZone::system()));
        local.map(|time| Self::At(time.timestamp())).map_err(|_| format!("expected {EXPECTED}"))
    }

    /// The time of day that it means at the time `now`.
    pub fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(duration) => now.checked_sub(duration).unwrap_or(Timestamp::MIN),
            Self::At(time) => time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_durations_dates_and_times() {
        let second = |seconds| Timestamp::from_second(seconds).expect("a time");
        let now = second(1_800_000_000);
        let meant = |text| Moment::parse(text).map(|moment| moment.before(now));
        assert_eq!(meant("1h30m"), Ok(second(1_799_994_600)));
        assert_eq!(meant("2026-11-20T03:00:00Z"), Ok(second(1_795_143_600)));
        assert_eq!(meant("2026-11-20 04:00:00+01:00"), Ok(second(1_795_143_600)));
        // The zone is the machine's: a day begins and ends in it.
        let (date, time) = (meant("2026-11-20").unwrap(), meant("2026-11-20 03:00").unwrap());
        assert_eq!(time.duration_since(date).as_hours(), 3);
        assert!(date.duration_since(second(1_795_132_800)).as_hours().abs() <= 14);
        for text in ["yesterday", "2026-13-01", "", "24", "2026-11-20 25:00"] {
            assert!(meant(text).is_err_and(|why| why.contains("7d or 1h30m")), "{text}");
        }
    }
}
