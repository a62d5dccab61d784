//! From samples to findings.

use std::collections::{HashMap, VecDeque};

use monitor_common::sample_record::{SampleContent, SampleRecord};
use monitor_identify::{Grade, Identification, Verdict, capture::connection_attempt};

use super::{
    finding::Finding,
    view::{Ends, View},
};

/// How long a connection attempt waits for a payload before it becomes a finding of its own.
pub(super) const ATTEMPT_TIMEOUT_NS: u64 = 10_000_000_000;

/// Attempts that wait at once: more than are sampled within the timeout.
pub(super) const MAX_ATTEMPTS: usize = 1024;

/// Turns samples into findings.
#[derive(Debug, Default)]
pub struct Classifier {
    /// Connection attempts without a payload so far.
    attempts: HashMap<Ends, Attempt>,
    /// The same, oldest first.
    ages: VecDeque<(u64, Ends)>,
}

/// A connection attempt.
#[derive(Debug)]
struct Attempt {
    /// When it was seen. It distinguishes two attempts between the same ends.
    time_ns: u64,
    /// The finding if nothing follows.
    finding: Finding,
}

impl Classifier {
    /// Takes a sample. A payload becomes a finding at once; an attempt is held back for
    /// [`Self::expire`].
    ///
    /// `is_watched` says which ports are watched. A sample between ports that are no longer watched
    /// is ignored.
    pub fn ingest(
        &mut self,
        sample: &SampleRecord,
        is_watched: impl Fn(u16) -> bool,
    ) -> Option<Finding> {
        let view = View::of(sample, is_watched)?;
        match &sample.content {
            SampleContent::Payload { bytes, wire_len } => {
                self.attempts.remove(&view.ends());
                Some(view.payload(sample, bytes, *wire_len))
            }
            SampleContent::ConnectionAttempt { headers } => {
                self.hold_back(view, sample, headers);
                None
            }
            SampleContent::Handshake => {
                if let Some(attempt) = self.attempts.get_mut(&view.ends()) {
                    attempt.finding.identification = Identification::new(
                        Verdict::Empty,
                        Grade::Confirmed,
                        "a connection in which nobody sent a byte for ten seconds",
                    );
                }
                None
            }
        }
    }

    fn hold_back(&mut self, view: View, sample: &SampleRecord, headers: &[u8]) {
        let family = if sample.source.is_ipv4() { 4 } else { 6 };
        let Some(identification) = connection_attempt(headers, family) else { return };
        if self.ages.len() >= MAX_ATTEMPTS {
            return;
        }
        let (time_ns, ends) = (sample.time_ns, view.ends());
        let finding = view.finding(sample, identification, None);
        self.attempts.insert(ends, Attempt { time_ns, finding });
        self.ages.push_back((time_ns, ends));
    }

    /// Removes and returns the attempts that timed out before `now_ns` (`CLOCK_BOOTTIME`).
    pub fn expire(&mut self, now_ns: u64) -> Vec<Finding> {
        let mut findings = Vec::new();
        while let Some((time_ns, ends)) = self.ages.front().copied() {
            if now_ns.saturating_sub(time_ns) < ATTEMPT_TIMEOUT_NS {
                break;
            }
            self.ages.pop_front();
            // A payload may have removed it, or a later attempt may have replaced it.
            if self.attempts.get(&ends).is_some_and(|attempt| attempt.time_ns == time_ns) {
                findings.extend(self.attempts.remove(&ends).map(|attempt| attempt.finding));
            }
        }
        findings
    }
}
