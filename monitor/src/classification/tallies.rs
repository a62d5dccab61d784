//! Counts of findings.

use std::{collections::BTreeMap, net::SocketAddr};

use jiff::Timestamp;
use monitor_common::flow::Protocol;

use super::finding::Finding;
use monitor_identify::{Grade, Verdict};

/// Rows at most: all verdicts on both protocols of some 80 ports.
const MAX_TALLIES: usize = 10_000;

/// Findings by port, protocol and verdict.
#[derive(Debug, Default)]
pub struct Tallies {
    rows: BTreeMap<(u16, Protocol, Verdict), Tally>,
    /// Findings without a row.
    uncounted: u64,
}

/// How often a verdict was found on a port, and the last such finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    /// Number of findings.
    pub count: u64,
    /// Grade of the last finding.
    pub grade: Grade,
    /// Its reason.
    pub reason: String,
    /// Its time of day.
    pub time: Timestamp,
    /// Its other end.
    pub peer: SocketAddr,
}

impl Tallies {
    /// Counts a finding at the time of day `time`.
    pub fn count(&mut self, finding: &Finding, time: Timestamp) {
        let key = (finding.port, finding.protocol, finding.identification.verdict);
        let count = self.rows.get(&key).map_or(0, |tally| tally.count);
        if count == 0 && self.rows.len() >= MAX_TALLIES {
            self.uncounted += 1;
            return;
        }
        let tally = Tally {
            count: count + 1,
            grade: finding.identification.grade,
            reason: finding.identification.reason.to_string(),
            time,
            peer: finding.peer,
        };
        self.rows.insert(key, tally);
    }

    /// Findings without a row.
    pub const fn uncounted(&self) -> u64 {
        self.uncounted
    }

    /// Every row, ordered by port.
    pub fn iter(&self) -> impl Iterator<Item = (u16, Protocol, Verdict, &Tally)> {
        self.rows
            .iter()
            .map(|((port, protocol, verdict), tally)| (*port, *protocol, *verdict, tally))
    }

    /// The rows of one port, the most recent first.
    pub fn of_port(&self, port: u16) -> Vec<(Protocol, Verdict, Tally)> {
        let range =
            (port, Protocol::Tcp, Verdict::ALL[0])..=(port, Protocol::Sctp, Verdict::Unknown);
        let mut rows: Vec<_> = self
            .rows
            .range(range)
            .map(|((_, protocol, verdict), tally)| (*protocol, *verdict, tally.clone()))
            .collect();
        rows.sort_by_key(|(_, _, tally)| std::cmp::Reverse(tally.time));
        rows
    }
}
