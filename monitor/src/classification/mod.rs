//! What conversations on the watched ports are: from samples of packets to findings.
//!
//! Pure: samples and a clock's readings in, findings out. [`Examiner`] turns a payload into a
//! verdict at once; a connection attempt waits for what follows it, because a scan is known by
//! nothing following. [`Tallies`] remembers what was found on which port.

mod finding;
mod tallies;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
};

use monitor_common::{
    flow::{Direction, LOOPBACK, Protocol},
    sample::{Sample, SampleKind},
    sampling::{address_bytes, ip_address},
};

pub use self::{
    finding::{Finding, Kept, PayloadFacts},
    tallies::{Tallies, Tally},
};
use monitor_identify::{
    Grade, Identification, Payload, Verdict, capture::connection_attempt, identify,
};

/// How long a connection attempt waits for a payload before it is classified by itself.
const PATIENCE_NS: u64 = 10_000_000_000;

/// Attempts that wait at once: more than are sampled in that time.
const MAX_ATTEMPTS: usize = 1024;

/// Both ends of a conversation, in either direction.
type Ends = (SocketAddr, SocketAddr);

/// Turns samples into findings.
#[derive(Debug, Default)]
pub struct Examiner {
    /// Connection attempts that nothing has followed yet.
    attempts: HashMap<Ends, Attempt>,
    /// The same by age.
    ages: VecDeque<(u64, Ends)>,
}

/// A connection attempt.
#[derive(Debug)]
struct Attempt {
    /// When it came; distinguishes it from a later one between the same ends.
    time_ns: u64,
    /// What it is if nothing follows.
    finding: Finding,
}

/// A packet as one of its ends sees it.
struct View {
    port: u16,
    protocol: Protocol,
    direction: Direction,
    local: SocketAddr,
    peer: SocketAddr,
}

impl Examiner {
    /// Takes a sample; `is_watched` says which ports are. Nothing comes of one that makes no sense,
    /// or is of a port that is no longer watched.
    pub fn take(&mut self, sample: &Sample, is_watched: impl Fn(u16) -> bool) -> Option<Finding> {
        let view = View::of(sample, is_watched)?;
        match SampleKind::try_from(sample.kind).ok()? {
            SampleKind::Payload => {
                self.attempts.remove(&view.ends());
                Some(view.payload(sample))
            }
            SampleKind::ConnectionAttempt => {
                self.wait(view, sample);
                None
            }
            SampleKind::Handshake => {
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

    fn wait(&mut self, view: View, sample: &Sample) {
        let Some(headers) = sample.bytes.get(..sample.captured.into()) else { return };
        let Some(identification) = connection_attempt(headers, sample.family) else {
            return;
        };
        if self.ages.len() >= MAX_ATTEMPTS {
            return;
        }
        let (time_ns, ends) = (sample.time_ns, view.ends());
        let finding = view.finding(sample, identification, None);
        self.attempts.insert(ends, Attempt { time_ns, finding });
        self.ages.push_back((time_ns, ends));
    }

    /// Attempts that nothing has followed for so long that nothing will.
    pub fn expire(&mut self, now_ns: u64) -> Vec<Finding> {
        let mut findings = Vec::new();
        while let Some((time_ns, ends)) = self.ages.front().copied() {
            if now_ns.saturating_sub(time_ns) < PATIENCE_NS {
                break;
            }
            self.ages.pop_front();
            // A payload has taken it away, or a later attempt its place.
            if self.attempts.get(&ends).is_some_and(|attempt| attempt.time_ns == time_ns) {
                findings.extend(self.attempts.remove(&ends).map(|attempt| attempt.finding));
            }
        }
        findings
    }
}

impl View {
    fn of(sample: &Sample, is_watched: impl Fn(u16) -> bool) -> Option<Self> {
        let ip = |words| ip_address(sample.family, address_bytes(words));
        let source = SocketAddr::new(ip(sample.source)?, sample.source_port);
        let destination = SocketAddr::new(ip(sample.destination)?, sample.destination_port);
        let direction = sample.direction()?;
        let (local, peer) = match direction {
            Direction::Ingress => (destination, source),
            Direction::Egress => (source, destination),
        };
        let protocol = sample.protocol()?;
        let view = |local: SocketAddr, peer, direction| Self {
            port: local.port(),
            protocol,
            direction,
            local,
            peer,
        };
        if is_watched(local.port()) {
            return Some(view(local, peer, direction));
        }
        if !is_watched(peer.port()) {
            return None;
        }
        // Over loopback both ends are this host's: the finding is about the watched one.
        if sample.interface == LOOPBACK {
            let direction = match direction {
                Direction::Ingress => Direction::Egress,
                Direction::Egress => Direction::Ingress,
            };
            return Some(view(peer, local, direction));
        }
        Some(Self { port: peer.port(), ..view(local, peer, direction) })
    }

    fn ends(&self) -> Ends {
        (self.local.min(self.peer), self.local.max(self.peer))
    }

    fn payload(self, sample: &Sample) -> Finding {
        let bytes = sample.bytes.get(..sample.captured.into()).unwrap_or(&sample.bytes);
        let wire_len = (sample.wire_len as usize).max(bytes.len());
        let (source, destination) = match self.direction {
            Direction::Ingress => (self.peer, self.local),
            Direction::Egress => (self.local, self.peer),
        };
        let identification = identify(&Payload {
            bytes,
            wire_len,
            transport: Some(self.protocol),
            source_port: Some(source.port()),
            destination_port: Some(destination.port()),
            direction: Some(self.direction),
        });
        let payload = PayloadFacts { size: wire_len, bytes: bytes.to_vec() };
        self.finding(sample, identification, Some(payload))
    }

    fn finding(
        self,
        sample: &Sample,
        identification: Identification,
        payload: Option<PayloadFacts>,
    ) -> Finding {
        let Self { port, protocol, direction, local, peer } = self;
        Finding {
            time_ns: sample.time_ns,
            interface: sample.interface,
            port,
            protocol,
            direction,
            local,
            peer,
            identification,
            payload,
        }
    }
}
