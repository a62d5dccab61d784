//! What was found on which port, and how often.

use std::{collections::BTreeMap, net::SocketAddr};

use jiff::Timestamp;
use monitor_common::flow::Protocol;

use super::Finding;
use monitor_identify::{Grade, Verdict};

/// Rows that are kept: all verdicts on both protocols of some 80 ports.
const MAX_TALLIES: usize = 10_000;

/// Findings by port, protocol and verdict.
#[derive(Debug, Default)]
pub struct Tallies {
    rows: BTreeMap<(u16, Protocol, Verdict), Tally>,
    /// Findings that there was no row for.
    uncounted: u64,
}

/// How often a verdict was found on a port, and the last time that it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    /// How often.
    pub count: u64,
    /// How sure it was.
    pub grade: Grade,
    /// Why.
    pub reason: String,
    /// When.
    pub time: Timestamp,
    /// Who was at the other end.
    pub peer: SocketAddr,
}

impl Tallies {
    /// Counts a finding of `time`.
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

    /// Findings that there was no row for.
    pub const fn uncounted(&self) -> u64 {
        self.uncounted
    }

    /// Every row, by port.
    pub fn iter(&self) -> impl Iterator<Item = (u16, Protocol, Verdict, &Tally)> {
        self.rows
            .iter()
            .map(|((port, protocol, verdict), tally)| (*port, *protocol, *verdict, tally))
    }

    /// The rows of one port, the latest first.
    pub fn of_port(&self, port: u16) -> Vec<(Protocol, Verdict, Tally)> {
        let range =
            (port, Protocol::ALL[0], Verdict::ALL[0])..=(port, Protocol::Udp, Verdict::Unknown);
        let mut rows: Vec<_> = self
            .rows
            .range(range)
            .map(|((_, protocol, verdict), tally)| (*protocol, *verdict, tally.clone()))
            .collect();
        rows.sort_by_key(|(_, _, tally)| std::cmp::Reverse(tally.time));
        rows
    }
}
