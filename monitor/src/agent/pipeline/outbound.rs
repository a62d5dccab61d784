//! The processes that last sent to watched ports of other hosts.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use monitor_common::{
    flow::{Protocol, Side},
    limits::REMOTE_FLOW_SILENCE_NS,
};
use monitor_kernel::clock::boottime_ns;
use monitor_ledger::{Change, Transition, Wake};

use crate::{agent::lock::lock, api::sender::Sender, event::Event};

/// Ports of which the last call is kept; of events, ports and protocols.
const MOST: usize = 256;

/// The last sender of each port, for the API. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct LastSenders(Arc<Mutex<BTreeMap<u16, Sender>>>);

impl LastSenders {
    /// Keeps the sender to a port, unless a later one is known; the oldest one makes room.
    pub fn record(&self, port: u16, sender: Sender) {
        let mut senders = lock(&self.0);
        if senders.get(&port).is_some_and(|known| known.time > sender.time) {
            return;
        }
        senders.insert(port, sender);
        keep_newest(&mut senders, |sender| sender.time);
    }

    /// The last sender to a port.
    pub fn of_port(&self, port: u16) -> Option<Sender> {
        lock(&self.0).get(&port).cloned()
    }
}

/// The event of the last call to each port, by protocol.
#[derive(Debug, Default)]
pub(super) struct OutboundCalls {
    /// With the time of the call, `CLOCK_BOOTTIME`, nanoseconds.
    last: BTreeMap<(u16, Protocol), (u64, Event)>,
}

impl OutboundCalls {
    /// Keeps the event of a call at `time_ns`; the oldest one makes room.
    pub(super) fn record(&mut self, port: u16, protocol: Protocol, time_ns: u64, event: Event) {
        self.last.insert((port, protocol), (time_ns, event));
        keep_newest(&mut self.last, |(time_ns, _)| *time_ns);
    }

    /// The call behind an awakening, which was just noticed, by a packet that this host sent, or that
    /// answers one.
    pub(super) fn cause_of(&self, transition: &Transition) -> Option<&Event> {
        let Change::Awakened { wake: Wake::Packet { protocol, side: Side::Remote, .. }, .. } =
            transition.change
        else {
            return None;
        };
        let (time_ns, event) = self.last.get(&(transition.port, protocol))?;
        let age_ns = boottime_ns().saturating_sub(*time_ns);
        (age_ns <= REMOTE_FLOW_SILENCE_NS).then_some(event)
    }
}

/// Removes the oldest value if there is one too many.
fn keep_newest<K: Copy + Ord, V, T: Ord>(values: &mut BTreeMap<K, V>, time: impl Fn(&V) -> T) {
    if values.len() > MOST
        && let Some(oldest) =
            values.iter().min_by_key(|(_, value)| time(value)).map(|(key, _)| *key)
    {
        values.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;

    fn sender(seconds: i64) -> Sender {
        let time = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        Sender { time, transport: Protocol::Tcp, peer_address: None, process: None }
    }

    #[test]
    fn keeps_the_latest_sender_of_a_port() {
        let senders = LastSenders::default();
        for seconds in [5, 9, 7] {
            senders.record(2948, sender(seconds));
        }
        assert_eq!(senders.of_port(2948), Some(sender(9)));
        assert_eq!(senders.of_port(2923), None);
    }

    #[test]
    fn the_oldest_sender_makes_room() {
        let senders = LastSenders::default();
        for port in 1..=MOST as u16 + 1 {
            senders.record(port, sender(i64::from(port)));
        }
        assert_eq!(senders.of_port(1), None);
        assert_eq!(senders.of_port(2), Some(sender(2)));
        assert_eq!(lock(&senders.0).len(), MOST);
    }
}
