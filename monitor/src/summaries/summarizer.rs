//! The sums of all events.

use monitor_ledger::ClockReading;

use super::{
    group::{DAY_NS, FIRST_PERIOD_NS, Rules},
    groups::{Groups, Limits},
    key::Hasher,
};
use crate::event::{Event, EventBody};

/// Programs, by what they called: each with a group. What a user has beyond its share is summed up
/// without regard to the program.
const CALLS: Limits = Limits { all: 1024, of_owner: 128 };

/// Networks of peers, by what their conversations are: each with a group. What is beyond is summed
/// up without regard to the network.
const CONVERSATIONS: Limits = Limits { all: 4096, of_owner: 4096 };

/// Sums up events alike.
#[derive(Debug)]
pub struct Summarizer {
    hasher: Hasher,
    /// After five minutes of silence a call matters again: the state of its port has expired by
    /// then.
    calls: Groups,
    conversations: Groups,
}

impl Default for Summarizer {
    fn default() -> Self {
        let calls = Rules { forget_ns: FIRST_PERIOD_NS, again_ns: DAY_NS, by_process: true };
        let conversations = Rules { forget_ns: DAY_NS, again_ns: DAY_NS, by_process: false };
        Self {
            hasher: Hasher::default(),
            calls: Groups::new(calls, CALLS),
            conversations: Groups::new(conversations, CONVERSATIONS),
        }
    }
}

impl Summarizer {
    /// Takes an event at `now_ns` (`CLOCK_BOOTTIME`): returns it if it is to be emitted as it is, and
    /// adds it to a sum if not.
    pub fn ingest(&mut self, event: Event, now_ns: u64) -> Option<Event> {
        if let EventBody::Identified(identified) = &event.body {
            let keys = self.hasher.of_conversation(identified);
            return self.conversations.ingest(event, keys, &self.hasher, now_ns);
        }
        match self.hasher.of_call(&event.body) {
            Some(keys) => self.calls.ingest(event, keys, &self.hasher, now_ns),
            None => Some(event),
        }
    }

    /// The summaries that are due.
    pub fn expire(&mut self, at: ClockReading) -> Vec<Event> {
        let mut summaries = Vec::new();
        self.calls.expire(at, &mut summaries);
        self.conversations.expire(at, &mut summaries);
        summaries
    }

    /// All summaries, due or not.
    pub fn flush(&mut self, at: ClockReading) -> Vec<Event> {
        let mut summaries = Vec::new();
        self.calls.flush(at, &mut summaries);
        self.conversations.flush(at, &mut summaries);
        summaries
    }
}
