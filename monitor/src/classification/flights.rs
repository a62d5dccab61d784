//! Payloads of TCP that may go on: the segments that were sampled are put together, as those of a
//! capture are.

use std::{collections::HashMap, net::SocketAddr};

use monitor_common::sample::FLIGHT_LEN;
use monitor_identify::{
    Grade, Verdict,
    capture::{Joined, Segment, join_segments},
    is_unfinished,
};

use super::{ages::Ages, finding::Finding};

/// How long a payload that may go on waits for the segment behind it.
pub(super) const FLIGHT_TIMEOUT_NS: u64 = 1_000_000_000;

/// How long it waits for all of them together.
pub(super) const LONGEST_FLIGHT_NS: u64 = 5_000_000_000;

/// Flights that wait at once: more than begin within the timeout.
const MAX_FLIGHTS: usize = 512;

/// Samples of a flight: more than are taken of one, some of them twice.
const MAX_SEGMENTS: usize = 96;

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
    first_ns: u64,
    /// When its last sample was taken.
    last_ns: u64,
    /// From when on its timeout counts.
    waits_from_ns: u64,
    segments: Vec<Segment>,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    /// The first segment has not been seen yet.
    NoBeginning,
    /// The finding if nothing follows.
    MayGoOn(Box<Finding>),
    /// The same of one that the other end has answered, before which it ended.
    Answered(Option<Box<Finding>>),
    /// Enough is known: what follows is dropped.
    Complete,
}

/// Why a finding may become another one with more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expectation {
    /// Nothing is known so far, or little speaks for it.
    SaysLittle,
    /// Its segment or its message goes on.
    GoesOn,
}

/// Whether and why a finding may become another one with more bytes.
pub(super) fn expectation(finding: &Finding) -> Option<Expectation> {
    let payload = finding.payload.as_ref()?;
    let identification = &finding.identification;
    let captured = payload.bytes.len();
    if captured >= FLIGHT_LEN {
        return None;
    }
    if captured < payload.size || is_unfinished(identification.verdict, &payload.bytes) {
        return Some(Expectation::GoesOn);
    }
    let says_little = matches!(identification.verdict, Verdict::Unknown | Verdict::Text)
        || identification.grade == Grade::Suspect;
    says_little.then_some(Expectation::SaysLittle)
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
        let is_known = self.open.get(&way).is_some_and(|flight| {
            // The first segment of another connection between the same ports.
            !(matches!(flight.progress, Progress::Complete) && segment.offset == 0)
        });
        if !is_known {
            if self.ages.len() >= MAX_FLIGHTS {
                let joined = join_segments(&[segment])?;
                return Some((joined, time_ns));
            }
            let flight = OpenFlight {
                first_ns: time_ns,
                last_ns: time_ns,
                waits_from_ns: time_ns,
                segments: Vec::new(),
                progress: Progress::NoBeginning,
            };
            self.ages.push(time_ns, way);
            self.open.insert(way, flight);
        }
        let flight = self.open.get_mut(&way)?;
        let is_over = matches!(flight.progress, Progress::Answered(_) | Progress::Complete);
        if is_over || flight.segments.len() >= MAX_SEGMENTS {
            return None;
        }
        flight.last_ns = time_ns;
        flight.segments.push(segment);
        let joined = join_segments(&flight.segments)?;
        Some((joined, flight.first_ns))
    }

    /// What a flight was before its last segment, if its message may have ended there.
    pub(super) fn earlier(&self, way: Way) -> Option<&Finding> {
        let Progress::MayGoOn(held) = &self.open.get(&way)?.progress else { return None };
        (expectation(held) == Some(Expectation::SaysLittle)).then_some(held)
    }

    /// Lets a finding wait for more of its flight; returns it if it cannot.
    pub(super) fn hold(&mut self, way: Way, finding: Finding) -> Option<Finding> {
        match self.open.get_mut(&way) {
            Some(flight) => {
                flight.progress = Progress::MayGoOn(Box::new(finding));
                None
            }
            None => Some(finding),
        }
    }

    /// Notes that enough is known of a flight.
    pub(super) fn complete(&mut self, way: Way) {
        if let Some(flight) = self.open.get_mut(&way) {
            flight.segments = Vec::new();
            flight.progress = Progress::Complete;
        }
    }

    /// Ends a flight, because its receiver has answered.
    pub(super) fn end(&mut self, way: Way) {
        let Some(flight) = self.open.get_mut(&way) else { return };
        let finding = match std::mem::replace(&mut flight.progress, Progress::Complete) {
            Progress::NoBeginning => None,
            Progress::MayGoOn(finding) => Some(finding),
            Progress::Answered(finding) => finding,
            Progress::Complete => return,
        };
        flight.segments = Vec::new();
        flight.progress = Progress::Answered(finding);
    }

    /// Removes and returns the findings that nothing followed before `now_ns` (`CLOCK_BOOTTIME`).
    pub(super) fn expire(&mut self, now_ns: u64) -> Vec<Finding> {
        let mut findings = Vec::new();
        while let Some((time_ns, way)) = self.ages.pop_expired(now_ns, FLIGHT_TIMEOUT_NS) {
            // Another one may be under way.
            let flight = self.open.get_mut(&way).filter(|flight| flight.waits_from_ns == time_ns);
            let Some(flight) = flight else { continue };
            if flight.is_going_on() {
                flight.waits_from_ns = flight.last_ns;
                self.ages.push(flight.last_ns, way);
            } else {
                findings.extend(self.open.remove(&way).and_then(OpenFlight::into_finding));
            }
        }
        findings
    }
}

impl OpenFlight {
    /// Whether a segment came since its timeout counts, of which more may follow.
    const fn is_going_on(&self) -> bool {
        matches!(self.progress, Progress::NoBeginning | Progress::MayGoOn(_))
            && self.last_ns > self.waits_from_ns
            && self.last_ns - self.first_ns < LONGEST_FLIGHT_NS
    }

    fn into_finding(self) -> Option<Finding> {
        match self.progress {
            Progress::MayGoOn(finding) => Some(*finding),
            Progress::Answered(finding) => finding.map(|finding| *finding),
            Progress::NoBeginning | Progress::Complete => None,
        }
    }
}
