//! From samples to findings.

use std::collections::HashMap;

use monitor_common::{
    flow::Protocol,
    sample_record::{SampleContent, SampleRecord},
};
use monitor_identify::{
    Grade, Identification, Verdict,
    capture::{Segment, connection_attempt, stray_segment},
};

use super::{
    ages::Ages,
    finding::Finding,
    flights::{Flights, expectation},
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
    ages: Ages<Ends>,
    /// Payloads of TCP that may go on.
    flights: Flights,
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
    /// Takes a sample. A payload becomes a finding at once, unless it says little or goes on, and more
    /// of it may follow; such a payload and an attempt are held back for [`Self::expire`].
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
                match sample.protocol {
                    Protocol::Tcp => self.take_segment(view, sample, 0, bytes, *wire_len),
                    _ => Some(view.payload(sample, bytes, *wire_len as usize)),
                }
            }
            SampleContent::Continuation { bytes, wire_len, offset } => {
                self.take_segment(view, sample, *offset, bytes, *wire_len)
            }
            SampleContent::Stray { headers } => {
                let identification = stray_segment(headers, family(sample))?;
                Some(view.finding(sample, identification, None))
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

    /// Identifies a segment with those of its flow that were there before.
    fn take_segment(
        &mut self,
        view: View,
        sample: &SampleRecord,
        offset: u32,
        bytes: &[u8],
        wire_len: u32,
    ) -> Option<Finding> {
        let way = (sample.source, sample.destination);
        self.flights.end((sample.destination, sample.source));
        let segment = Segment { offset, bytes: bytes.into(), wire_len: wire_len as usize };
        let (joined, time_ns) = self.flights.join(way, sample.time_ns, segment)?;
        let finding = view.payload(sample, &joined.bytes, joined.wire_len);
        let mut finding = Finding { time_ns, ..finding };
        if let Some(earlier) = self.flights.earlier(way)
            && earlier.identification.is_better_than_with_more(&finding.identification)
        {
            finding = earlier.clone();
        }
        if expectation(&finding).is_some() {
            return self.flights.hold(way, finding);
        }
        self.flights.complete(way);
        Some(finding)
    }

    fn hold_back(&mut self, view: View, sample: &SampleRecord, headers: &[u8]) {
        let Some(identification) = connection_attempt(headers, family(sample)) else { return };
        if self.ages.len() >= MAX_ATTEMPTS {
            return;
        }
        let (time_ns, ends) = (sample.time_ns, view.ends());
        let finding = view.finding(sample, identification, None);
        self.attempts.insert(ends, Attempt { time_ns, finding });
        self.ages.push(time_ns, ends);
    }

    /// Removes and returns what timed out before `now_ns` (`CLOCK_BOOTTIME`): attempts that nothing
    /// followed, and payloads that did not go on.
    pub fn expire(&mut self, now_ns: u64) -> Vec<Finding> {
        let mut findings = self.flights.expire(now_ns);
        while let Some((time_ns, ends)) = self.ages.pop_expired(now_ns, ATTEMPT_TIMEOUT_NS) {
            // A payload may have removed it, or a later attempt may have replaced it.
            if self.attempts.get(&ends).is_some_and(|attempt| attempt.time_ns == time_ns) {
                findings.extend(self.attempts.remove(&ends).map(|attempt| attempt.finding));
            }
        }
        findings
    }
}

/// Version of IP.
const fn family(sample: &SampleRecord) -> u8 {
    if sample.source.is_ipv4() { 4 } else { 6 }
}
