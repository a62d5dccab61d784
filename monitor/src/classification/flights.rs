//! Payloads of TCP that may go on in the next segment: the segments that were sampled are put
//! together, as those of a capture are.

use std::{collections::HashMap, net::SocketAddr};

use monitor_common::sample::SAMPLE_LEN;
use monitor_identify::{
    Grade, Verdict,
    capture::{Joined, Segment, join_segments},
};

use super::{ages::Ages, finding::Finding};

/// How long a payload that says little waits for the segment behind it.
pub(super) const FLIGHT_TIMEOUT_NS: u64 = 1_000_000_000;

/// Flights that wait at once: more than begin within the timeout.
const MAX_FLIGHTS: usize = 512;

/// Segments of a flight: more than are sampled of one, some of them twice.
const MAX_SEGMENTS: usize = 16;

/// Sender and receiver.
pub(super) type Way = (SocketAddr, SocketAddr);

/// Payloads that wait for what follows them.
#[derive(Debug, Default)]
pub(super) struct Flights {
    open: HashMap<Way, OpenFlight>,
    ages: Ages<Way>,
}

/// A payload that may go on.
#[derive(Debug)]
struct OpenFlight {
    /// When its first sample was taken. It distinguishes two flights of the same way.
    time_ns: u64,
    segments: Vec<Segment>,
    /// Whether the other end has sent something, before which it ended.
    is_answered: bool,
    /// The finding if nothing follows; `None` until the first segment is there.
    finding: Option<Finding>,
}

/// Whether a finding may become another one with more bytes: the payload is shorter than a sample,
/// and nothing is known so far, or little speaks for it.
pub(super) fn may_change(finding: &Finding) -> bool {
    let is_short = finding.payload.as_ref().is_some_and(|payload| payload.size < SAMPLE_LEN);
    let identification = &finding.identification;
    let says_little = matches!(identification.verdict, Verdict::Unknown | Verdict::Text)
        || identification.grade == Grade::Suspect;
    is_short && says_little
}

impl Flights {
    /// Adds a segment, and returns what is there from the first byte on and when that began. `None`
    /// without the first segment, or behind the end of its flight.
    pub(super) fn join(
        &mut self,
        way: Way,
        time_ns: u64,
        segment: Segment,
    ) -> Option<(Joined, u64)> {
        if !self.open.contains_key(&way) {
            if self.ages.len() >= MAX_FLIGHTS {
                let joined = join_segments(&[segment])?;
                return Some((joined, time_ns));
            }
            let flight =
                OpenFlight { time_ns, segments: Vec::new(), is_answered: false, finding: None };
            self.ages.push(time_ns, way);
            self.open.insert(way, flight);
        }
        let flight = self.open.get_mut(&way)?;
        if flight.is_answered || flight.segments.len() >= MAX_SEGMENTS {
            return None;
        }
        flight.segments.push(segment);
        let joined = join_segments(&flight.segments)?;
        Some((joined, flight.time_ns))
    }

    /// Lets a finding wait for more of its flight; returns it if it cannot.
    pub(super) fn hold(&mut self, way: Way, finding: Finding) -> Option<Finding> {
        match self.open.get_mut(&way) {
            Some(flight) => {
                flight.finding = Some(finding);
                None
            }
            None => Some(finding),
        }
    }

    /// Forgets a flight of which enough is known.
    pub(super) fn remove(&mut self, way: Way) {
        self.open.remove(&way);
    }

    /// Ends a flight, because its receiver has answered.
    pub(super) fn end(&mut self, way: Way) {
        if let Some(flight) = self.open.get_mut(&way) {
            flight.is_answered = true;
        }
    }

    /// Removes and returns the findings that nothing followed before `now_ns` (`CLOCK_BOOTTIME`).
    pub(super) fn expire(&mut self, now_ns: u64) -> Vec<Finding> {
        let mut findings = Vec::new();
        while let Some((time_ns, way)) = self.ages.pop_expired(now_ns, FLIGHT_TIMEOUT_NS) {
            // Enough may be known of it already, and another one be under way.
            if self.open.get(&way).is_some_and(|flight| flight.time_ns == time_ns) {
                findings.extend(self.open.remove(&way).and_then(|flight| flight.finding));
            }
        }
        findings
    }
}
