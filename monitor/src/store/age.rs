//! How old events are, by the time that has passed.

use std::time::{Duration, Instant};

use rusqlite::{Transaction, params};

/// Marks within the time that events are kept. Events are deleted up to a mark, so that each stays for
/// a 64th longer at most.
const MARKS: u32 = 64;

/// How often a mark is made, at least and at most.
const MARK_PERIODS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(3600)];

/// Measures how long the store has been in use.
///
/// The time of day may be set a year ahead for a minute, and events of a host without a clock begin in
/// 1970; neither says how long an event was kept. The table `age` has the seconds for which this store
/// was in use, and each row of `marks` the newest event at such a second. Time without an agent does
/// not count: events are kept for that much longer.
#[derive(Debug)]
pub(super) struct Age {
    /// Up to when the table has the time.
    saved: Instant,
}

impl Age {
    /// Begins with what the table has.
    pub(super) fn resume(now: Instant) -> Self {
        Self { saved: now }
    }

    /// Whole seconds that the table lacks.
    pub(super) fn passed(&self, now: Instant) -> Duration {
        Duration::from_secs(now.saturating_duration_since(self.saved).as_secs())
    }

    /// The table has these seconds now.
    pub(super) fn commit(&mut self, passed: Duration) {
        self.saved += passed;
    }

    /// Adds these seconds to the table, and marks the newest event if that is due. Returns the newest
    /// event that was kept for longer than `retain`.
    pub(super) fn advance(
        transaction: &Transaction<'_>,
        passed: Duration,
        retain: Duration,
    ) -> rusqlite::Result<Option<i64>> {
        let sql = "UPDATE age SET seconds = seconds + ?1 RETURNING seconds";
        let age: i64 = transaction.query_row(sql, [passed.as_secs() as i64], |row| row.get(0))?;
        let [shortest, longest] = MARK_PERIODS;
        let period = (retain / MARKS).clamp(shortest, longest).as_secs() as i64;
        transaction.execute(
            "INSERT OR IGNORE INTO marks SELECT max(id), ?1 FROM events
             HAVING max(id) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM marks WHERE seconds > ?1 - ?2)",
            params![age, period],
        )?;
        let retain = i64::try_from(retain.as_secs()).unwrap_or(i64::MAX);
        let expired = age.saturating_sub(retain);
        let sql = "SELECT max(event) FROM marks WHERE seconds <= ?1";
        let newest: Option<i64> = transaction.query_row(sql, [expired], |row| row.get(0))?;
        if let Some(newest) = newest {
            transaction.execute("DELETE FROM marks WHERE event < ?1", [newest])?;
        }
        Ok(newest)
    }
}
