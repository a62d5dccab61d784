//! The latest events, of which alike ones that follow each other are one line.

use std::collections::{BTreeSet, VecDeque};

use crate::api::event::EventSummary;

/// Lines that are kept: more than any terminal has.
pub(super) const MAX_LINES: usize = 500;

/// Different peers of a line that are counted.
const MAX_PEERS: usize = 1000;

/// Events alike.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// The last of them.
    pub(super) event: EventSummary,
    /// How many there were.
    pub(super) count: u64,
    /// What they have in common.
    key: Key,
    /// Their peers, where they are about payloads.
    peers: BTreeSet<String>,
}

/// What is equal of events alike. Of payloads, peers do not matter.
type Key = [Option<String>; 6];

/// The latest events, newest last.
#[derive(Debug, Default)]
pub(super) struct Events(VecDeque<Line>);

impl Events {
    /// Adds an event, which is one line of JSON. Whether it became a line of its own.
    pub(super) fn add(&mut self, json: &str) -> bool {
        let event: EventSummary = serde_json::from_str(json).unwrap_or_default();
        let key = key(&event);
        let count = event.count.unwrap_or(1);
        if let Some(last) = self.0.back_mut().filter(|last| last.key == key) {
            last.count += count;
            let total = event.count.map(|_| last.count);
            if last.peers.len() < MAX_PEERS {
                last.peers.extend(event.peer_address.clone());
            }
            let peers = event.peers.max(Some(last.peers.len() as u64));
            last.event = EventSummary { count: total, peers, ..event };
            return false;
        }
        let peers = event.peer_address.clone().into_iter().collect();
        self.0.push_back(Line { event, count, key, peers });
        if self.0.len() > MAX_LINES {
            self.0.pop_front();
        }
        true
    }

    /// Those about `port`, or all; newest last.
    pub(super) fn about(&self, port: Option<u16>) -> impl DoubleEndedIterator<Item = &Line> {
        self.0.iter().filter(move |line| {
            port.is_none_or(|port| line.event.port.or(line.event.local_port) == Some(port))
        })
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn key(event: &EventSummary) -> Key {
    let process = event.pid.map(|pid| pid.to_string());
    let peer = event.verdict.is_none().then(|| event.peer_address.clone()).flatten();
    [
        event.name.clone(),
        event.port.or(event.local_port).map(|port| port.to_string()),
        event.transport.clone(),
        event.verdict.clone().or_else(|| event.summary_of.clone()),
        process.or_else(|| event.hook.clone()),
        peer,
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn verdicts_of_many_peers_are_one_line() {
        let mut events = Events::default();
        for peer in 0..250 {
            let event = json!({
                "event.name": "ghostport.identified", "ghostport.port": 2948,
                "ghostport.verdict": "http", "network.peer.address": format!("192.0.2.{peer}"),
            });
            events.add(&event.to_string());
        }
        let bind = json!({ "event.name": "ghostport.bind", "network.local.port": 2949 });
        events.add(&bind.to_string());
        let lines: Vec<(u64, Option<u16>)> =
            events.about(None).map(|line| (line.count, line.event.port)).collect();
        assert_eq!(lines, [(250, Some(2948)), (1, None)]);
        assert_eq!(events.about(Some(2948)).next().and_then(|line| line.event.peers), Some(250));
        assert_eq!(events.about(Some(2949)).count(), 1);
    }

    #[test]
    fn the_number_of_lines_is_limited() {
        let mut events = Events::default();
        for number in 0..2 * MAX_LINES {
            events
                .add(&json!({ "event.name": "ghostport.bind", "process.pid": number }).to_string());
        }
        assert_eq!(events.len(), MAX_LINES);
        let newest = events.about(None).next_back().and_then(|line| line.event.pid);
        assert_eq!(newest, Some(2 * MAX_LINES as u32 - 1));
    }
}
