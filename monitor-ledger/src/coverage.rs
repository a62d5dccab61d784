//! Covered time: the sum of all time during which counters were read regularly.

use std::ops::Range;

use crate::{observation::Start, saved::Saved};

/// Longest interval between two readings that counts as covered, nanoseconds. A longer one is a
/// coverage gap: the process was stopped or the machine suspended. Load delays a reading by less.
pub const MAX_READING_INTERVAL_NS: u64 = 30_000_000_000;

/// Maps `CLOCK_BOOTTIME` to covered time and to the ledger's age.
///
/// *Covered* time stops in gaps, so that durations exclude them. The *age* continues in gaps; it
/// measures how long ago a state was observed.
#[derive(Clone, Debug)]
pub(super) struct CoverageClock {
    /// Covered time up to the last reading.
    covered_ns: u64,
    /// The last gap, `CLOCK_BOOTTIME`.
    last_gap_ns: Range<u64>,
    /// Covered time before the last gap.
    covered_before_ns: u64,
    /// Time of the last reading, `CLOCK_BOOTTIME`.
    last_reading_ns: u64,
    /// Sum of all gaps.
    gap_ns: u64,
    /// Difference between the ledger's age and `CLOCK_BOOTTIME`.
    age_offset_ns: u64,
}

impl CoverageClock {
    /// Starts with no covered time and no gap.
    pub(super) fn begin(start: &Start) -> Self {
        Self {
            covered_ns: 0,
            last_gap_ns: 0..start.at.boottime_ns,
            covered_before_ns: 0,
            last_reading_ns: start.at.boottime_ns,
            gap_ns: 0,
            age_offset_ns: 0,
        }
    }

    /// Continues after the gap between `saved` and `start`.
    ///
    /// Within one boot `CLOCK_BOOTTIME` measures the gap. After a reboot the wall clock estimates it,
    /// and it is at least as long as the machine has been up.
    pub(super) fn resume(saved: &Saved, start: &Start) -> Self {
        let now_ns = start.at.boottime_ns;
        let same_boot = saved.boot_id == start.boot_id;
        let (began_ns, gap_ns) = match now_ns.checked_sub(saved.boottime_ns) {
            Some(gap_ns) if same_boot => (saved.boottime_ns, gap_ns),
            _ => {
                let by_time_of_day = start.at.wall.duration_since(saved.wall).as_nanos();
                (0, u64::try_from(by_time_of_day).unwrap_or(0).max(now_ns))
            }
        };
        Self {
            covered_ns: saved.covered_ns,
            last_gap_ns: began_ns..now_ns,
            covered_before_ns: saved.covered_ns,
            last_reading_ns: now_ns,
            gap_ns: saved.gap_ns.saturating_add(gap_ns),
            age_offset_ns: saved.age_ns.saturating_add(gap_ns).saturating_sub(now_ns),
        }
    }

    /// Adds the time since the previous reading as covered time or as a gap.
    pub(super) fn advance(&mut self, boottime_ns: u64) {
        let passed = boottime_ns.saturating_sub(self.last_reading_ns);
        if passed <= MAX_READING_INTERVAL_NS {
            self.covered_ns += passed;
        } else {
            self.gap_ns = self.gap_ns.saturating_add(passed);
            self.covered_before_ns = self.covered_ns;
            self.last_gap_ns = self.last_reading_ns..boottime_ns;
        }
        self.last_reading_ns = self.last_reading_ns.max(boottime_ns);
    }

    /// Covered time up to `boottime_ns`. All times within a gap map to the same covered time.
    ///
    /// Only the last gap is known: an earlier time may come out too early, never too late.
    pub(super) fn covered_at(&self, boottime_ns: u64) -> u64 {
        let Range { start: gap_began_ns, end: gap_ended_ns } = self.last_gap_ns;
        if let Some(passed) = boottime_ns.checked_sub(self.last_reading_ns) {
            // A longer interval will become a gap.
            return self.covered_ns + if passed <= MAX_READING_INTERVAL_NS { passed } else { 0 };
        }
        if boottime_ns >= gap_ended_ns {
            return self.covered_ns.saturating_sub(self.last_reading_ns - boottime_ns);
        }
        self.covered_before_ns.saturating_sub(gap_began_ns.saturating_sub(boottime_ns))
    }

    /// Covered time up to the last reading; later packets are not known yet.
    pub(super) const fn covered_ns(&self) -> u64 {
        self.covered_ns
    }

    /// Sum of all gaps, nanoseconds.
    pub(super) const fn gap_ns(&self) -> u64 {
        self.gap_ns
    }

    /// Covered time and gaps up to `boottime_ns`.
    pub(super) const fn since_begin_ns(&self, boottime_ns: u64) -> u64 {
        let unread = boottime_ns.saturating_sub(self.last_reading_ns);
        self.covered_ns.saturating_add(self.gap_ns).saturating_add(unread)
    }

    /// Time of the last reading, `CLOCK_BOOTTIME`, nanoseconds.
    pub(super) const fn last_reading_ns(&self) -> u64 {
        self.last_reading_ns
    }

    /// The ledger's age at `boottime_ns`.
    pub(super) const fn age_at(&self, boottime_ns: u64) -> u64 {
        boottime_ns.saturating_add(self.age_offset_ns)
    }
}
