//! How much of a time was covered. Pure.

use std::time::Duration;

use jiff::Timestamp;
use monitor_ledger::days::Gap;

use crate::{api::report::Coverage, config::quantity, store::Period};

/// The longest gap that does not matter.
const LONGEST_GAP: f64 = 3600.0;

/// The share of a time that gaps may take together.
const SHARE_OF_GAPS: f64 = 0.01;

/// How long ago the last save of a running agent may be.
const SAVE_DELAY: f64 = 90.0;

/// The times in which nothing is known of a host: those before its history, the saved gaps, and the time
/// since the last save if that was long ago.
pub(super) struct HostCoverage {
    pub(super) period: Period,
    pub(super) gaps: Vec<Gap>,
}

impl HostCoverage {
    /// Of a history that `began` and was last saved at these times. The period ends with that save if it
    /// was a moment ago.
    pub(super) fn new(
        period: Period,
        began: Timestamp,
        saved: Timestamp,
        mut gaps: Vec<Gap>,
    ) -> Self {
        let mut period = period;
        if seconds(saved, period.until) <= SAVE_DELAY {
            period.until = saved.max(period.since);
        } else {
            gaps.push(between(saved, period.until));
        }
        if began > period.since {
            gaps.push(between(period.since, began.min(period.until)));
        }
        gaps.retain(|gap| gap.until > period.since && gap.since < period.until);
        Self { period, gaps }
    }

    /// How much of it a port was covered that was `watched` at these times.
    pub(super) fn of_port(&self, watched: &[(Timestamp, Option<Timestamp>)]) -> Coverage {
        let Period { since, until } = self.period;
        let length = seconds(since, until);
        let mut unknown: Vec<(Timestamp, Timestamp)> =
            self.gaps.iter().map(|gap| (gap.since, gap.until)).collect();
        let mut watched_to = since;
        for (begin, end) in watched {
            if *begin > watched_to {
                unknown.push((watched_to, *begin));
            }
            watched_to = watched_to.max(end.unwrap_or(until));
        }
        if watched_to < until {
            unknown.push((watched_to, until));
        }
        let unknown = united(unknown, self.period);
        let missing: f64 = unknown.iter().map(|(begin, end)| seconds(*begin, *end)).sum();
        let longest = unknown.iter().map(|(begin, end)| seconds(*begin, *end)).fold(0.0, f64::max);
        Coverage {
            seconds: length,
            covered_seconds: (length - missing).max(0.0),
            longest_gap_seconds: longest,
            is_whole: length > 0.0 && longest <= LONGEST_GAP && missing <= length * SHARE_OF_GAPS,
            watched_since: watched.first().map(|(begin, _)| *begin),
        }
    }

    /// How long a gap was within the period.
    pub(super) fn seconds_of(&self, gap: &Gap) -> f64 {
        let Period { since, until } = self.period;
        let by_wall = seconds(gap.since.max(since), gap.until.min(until));
        // The clock may have been stepped in it.
        let is_within = gap.since >= since && gap.until <= until;
        if is_within { (gap.length_ns as f64 / 1e9).min(seconds(since, until)) } else { by_wall }
    }
}

/// Why a coverage is no whole one.
pub(super) fn reason(coverage: &Coverage) -> Option<String> {
    if coverage.is_whole {
        return None;
    }
    let text =
        |seconds: f64| quantity::format_duration(Duration::from_secs_f64(seconds.round().max(0.0)));
    Some(if coverage.watched_since.is_none() {
        "the port was not watched".to_owned()
    } else {
        format!(
            "{} of {} are covered, the longest time that is not is {}",
            text(coverage.covered_seconds),
            text(coverage.seconds),
            text(coverage.longest_gap_seconds)
        )
    })
}

fn between(since: Timestamp, until: Timestamp) -> Gap {
    let length_ns = u64::try_from(until.duration_since(since).as_nanos()).unwrap_or(0);
    Gap { since, until, length_ns }
}

/// The times within the period, overlapping ones as one.
fn united(mut times: Vec<(Timestamp, Timestamp)>, period: Period) -> Vec<(Timestamp, Timestamp)> {
    times.iter_mut().for_each(|(begin, end)| {
        *begin = (*begin).max(period.since);
        *end = (*end).min(period.until);
    });
    times.retain(|(begin, end)| begin < end);
    times.sort_unstable();
    let mut united: Vec<(Timestamp, Timestamp)> = Vec::new();
    for (begin, end) in times {
        match united.last_mut() {
            Some(last) if begin <= last.1 => last.1 = last.1.max(end),
            _ => united.push((begin, end)),
        }
    }
    united
}

/// Seconds from one time to another, 0 if it is earlier.
pub(super) fn seconds(since: Timestamp, until: Timestamp) -> f64 {
    until.duration_since(since).as_secs_f64().max(0.0)
}
