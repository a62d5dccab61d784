//! Covered time: the time in which the agent looked, laid end to end.

use std::ops::Range;

use super::{Saved, Start};

/// Two readings that are further apart than this, nanoseconds, have a coverage gap between them:
/// the process was stopped, or the machine slept. A busy machine delays a reading by less.
pub const LONGEST_SILENCE_NS: u64 = 30_000_000_000;

/// Maps `CLOCK_BOOTTIME` to covered time and to the ledger's age.
///
/// *Covered* time stands still in gaps, so that a gap counts for nothing wherever a duration is
/// taken from it. The *age* goes on in gaps; it says how long ago a state was seen.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    /// Covered time up to the last reading.
    covered_ns: u64,
    /// The last gap, `CLOCK_BOOTTIME`.
    last_gap_ns: Range<u64>,
    /// Covered time before it.
    covered_before_ns: u64,
    /// When the last reading was, `CLOCK_BOOTTIME`.
    read_at_ns: u64,
    /// Gaps, all together.
    gap_ns: u64,
    /// From `CLOCK_BOOTTIME` to the ledger's age.
    age_offset_ns: u64,
}

impl Timeline {
    /// Begins with nothing covered and no gap.
    pub(super) fn begin(start: &Start) -> Self {
        Self {
            covered_ns: 0,
            last_gap_ns: 0..start.at.boottime_ns,
            covered_before_ns: 0,
            read_at_ns: start.at.boottime_ns,
            gap_ns: 0,
            age_offset_ns: 0,
        }
    }

    /// Goes on after the gap between `saved` and `start`.
    ///
    /// In the same boot the kernel's clock measures the gap. After another boot the time of day
    /// has to do, and the machine has been up for some of it at least.
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
            read_at_ns: now_ns,
            gap_ns: saved.gap_ns.saturating_add(gap_ns),
            age_offset_ns: saved.age_ns.saturating_add(gap_ns).saturating_sub(now_ns),
        }
    }

    /// A reading was made: what is between it and the one before is covered, or is a gap.
    pub(super) fn advance(&mut self, boottime_ns: u64) {
        let passed = boottime_ns.saturating_sub(self.read_at_ns);
        if passed <= LONGEST_SILENCE_NS {
            self.covered_ns += passed;
        } else {
            self.gap_ns = self.gap_ns.saturating_add(passed);
            self.covered_before_ns = self.covered_ns;
            self.last_gap_ns = self.read_at_ns..boottime_ns;
        }
        self.read_at_ns = self.read_at_ns.max(boottime_ns);
    }

    /// Covered time up to `boottime_ns`. What happened in a gap happened at the gap's place.
    ///
    /// Earlier gaps than the last are not remembered: a time before them comes out too early, never
    /// too late.
    pub(super) fn covered_at(&self, boottime_ns: u64) -> u64 {
        let Range { start: gap_began_ns, end: gap_ended_ns } = self.last_gap_ns;
        if let Some(passed) = boottime_ns.checked_sub(self.read_at_ns) {
            // Longer silence will be a gap.
            return self.covered_ns + if passed <= LONGEST_SILENCE_NS { passed } else { 0 };
        }
        if boottime_ns >= gap_ended_ns {
            return self.covered_ns.saturating_sub(self.read_at_ns - boottime_ns);
        }
        self.covered_before_ns.saturating_sub(gap_began_ns.saturating_sub(boottime_ns))
    }

    /// Covered time up to the last reading; no packet after it is known of yet.
    pub(super) const fn covered_ns(&self) -> u64 {
        self.covered_ns
    }

    /// Gaps, all together, nanoseconds.
    pub(super) const fn gap_ns(&self) -> u64 {
        self.gap_ns
    }

    /// When the last reading was, `CLOCK_BOOTTIME`, nanoseconds.
    pub(super) const fn read_at_ns(&self) -> u64 {
        self.read_at_ns
    }

    /// The ledger's age at `boottime_ns`.
    pub(super) const fn age_at(&self, boottime_ns: u64) -> u64 {
        boottime_ns.saturating_add(self.age_offset_ns)
    }
}
