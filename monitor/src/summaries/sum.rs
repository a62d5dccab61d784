//! The sum of events alike.

use jiff::Timestamp;
use monitor_identify::Details;

use super::{
    key::{Hasher, network},
    peers::Peers,
    processes::Processes,
};
use crate::event::{Conversations, Event, EventBody, Identified, Repeats, Summary};

/// Processes that a sum distinguishes.
const MOST_PROCESSES: usize = 64;

/// Events alike since the last summary.
#[derive(Clone, Debug)]
pub(super) struct Sum {
    repeats: Repeats,
    host_name: String,
    of: Of,
}

#[derive(Clone, Debug)]
enum Of {
    /// The last call, and the processes of all.
    Calls(Box<EventBody>, Processes),
    /// The last conversation, the peers of all, and their bytes.
    Conversations(Box<Identified>, Peers, u64),
}

impl Sum {
    /// The sum of one event, which is a call or a conversation.
    pub(super) fn new(event: Event, hasher: &Hasher, is_of_network: bool) -> Self {
        let repeats = event.stands_for();
        let of = match event.body {
            EventBody::Identified(identified) => {
                let mut peers = Peers::default();
                add_peer(&mut peers, &identified, hasher, is_of_network);
                let bytes = size(&identified);
                Of::Conversations(Box::new(shared(identified)), peers, bytes)
            }
            body => {
                let mut processes = Processes::default();
                processes.add(hasher.of_process(body.caller()), MOST_PROCESSES);
                Of::Calls(Box::new(body), processes)
            }
        };
        Self { repeats, host_name: event.host_name, of }
    }

    /// Adds an event alike.
    pub(super) fn add(&mut self, event: Event, hasher: &Hasher, is_of_network: bool) {
        self.repeats = self.repeats.and(event.stands_for());
        match (&mut self.of, event.body) {
            (Of::Conversations(last, peers, bytes), EventBody::Identified(identified)) => {
                add_peer(peers, &identified, hasher, is_of_network);
                *bytes = bytes.saturating_add(size(&identified));
                **last = shared(identified);
            }
            (Of::Calls(last, processes), body) => {
                processes.add(hasher.of_process(body.caller()), MOST_PROCESSES);
                **last = with_common_peer(body, last);
            }
            // The key of a call is that of no conversation.
            (Of::Conversations(..), _) => {}
        }
    }

    /// The summary, which is emitted at `time`.
    pub(super) fn into_summary(self, time: Timestamp, is_of_network: bool) -> Event {
        let summary = match self.of {
            Of::Calls(last, processes) => {
                Summary::Calls { last, processes: u64::try_from(processes.len()).ok() }
            }
            Of::Conversations(last, peers, bytes) => {
                let peer = last.peer.ip();
                Summary::Conversations(Box::new(Conversations {
                    peers: peers.count(peer, is_of_network),
                    network: is_of_network.then(|| network(peer)),
                    last: *last,
                    bytes,
                }))
            }
        };
        let (host_name, repeats) = (self.host_name, Some(self.repeats));
        Event { time, host_name, body: EventBody::Summary(summary), repeats }
    }
}

fn add_peer(peers: &mut Peers, identified: &Identified, hasher: &Hasher, is_of_network: bool) {
    let peer = identified.peer.ip();
    peers.add(peer, hasher.of_peer(peer), is_of_network);
}

/// A call, with the address of the peer only if the others had the same.
fn with_common_peer(mut body: EventBody, others: &EventBody) -> EventBody {
    if let (EventBody::Connect(new), EventBody::Connect(others)) = (&mut body, others)
        && new.peer_address != others.peer_address
    {
        new.peer_address = None;
    }
    body
}

fn size(identified: &Identified) -> u64 {
    identified.payload_size.map_or(0, |size| size as u64)
}

/// A conversation without what belongs to it alone.
fn shared(identified: Identified) -> Identified {
    let mut shared = Identified { interface: None, payload_size: None, kept: None, ..identified };
    shared.identification.details = Details::default();
    // A port of this host is the client's, and another one every time.
    if shared.socket.local_port != Some(shared.port) {
        shared.socket.local_port = None;
    }
    shared
}
