//! Slots for connections, shared fairly between clients.
//!
//! There is always room for a client with fewer connections than another: the one with the most gives
//! one up. Idle connections, which have no request in progress, go first, the oldest of them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use tokio::sync::oneshot;

use super::{activity::Activity, client::Client};
use crate::lock::lock;

/// The connections of some listeners.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    table: Arc<Mutex<Table>>,
    /// Connections at once.
    most: usize,
    /// Connections at once of one client.
    most_of_client: usize,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// In the order of their age.
    held: BTreeMap<u64, Held>,
}

#[derive(Debug)]
struct Held {
    client: Client,
    activity: Activity,
    /// Sent to, or dropped, when another connection takes the slot.
    _evict: oneshot::Sender<()>,
}

/// The slot of a connection, until this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    number: u64,
    table: Arc<Mutex<Table>>,
    /// Whether it has a request in progress.
    pub(super) activity: Activity,
    evicted: Option<oneshot::Receiver<()>>,
}

impl Slots {
    /// Room for `most` connections, and for `most_of_client` of one client.
    pub(super) fn new(most: usize, most_of_client: usize) -> Self {
        Self { table: Arc::default(), most, most_of_client }
    }

    /// A slot for a connection of this client. `None` if it has its share already, all of it with
    /// requests in progress.
    pub(super) fn take(&self, client: Client) -> Option<Slot> {
        let mut table = lock(&self.table);
        if let Some(victim) = self.victim(&table, client)? {
            table.held.remove(&victim);
        }
        let number = table.next;
        table.next += 1;
        let (evict, evicted) = oneshot::channel();
        let activity = Activity::default();
        table.held.insert(number, Held { client, activity: activity.clone(), _evict: evict });
        let table = Arc::clone(&self.table);
        Some(Slot { number, table, activity, evicted: Some(evicted) })
    }

    /// Which connection makes room for another one of `client`, if any has to; `None` if none may.
    fn victim(&self, table: &Table, client: Client) -> Option<Option<u64>> {
        let mut counts: HashMap<Client, usize> = HashMap::new();
        for held in table.held.values() {
            *counts.entry(held.client).or_default() += 1;
        }
        let own = counts.get(&client).copied().unwrap_or(0);
        let is_full = table.held.len() >= self.most;
        if own < self.most_of_client && !is_full {
            return Some(None);
        }
        let largest = counts.values().copied().max().unwrap_or(0);
        let others_have_more = own < self.most_of_client && own < largest;
        let gives_way = |held: &Held| {
            if others_have_more {
                counts.get(&held.client) == Some(&largest)
            } else {
                held.client == client
            }
        };
        let mut candidates = table.held.iter().filter(|(_, held)| gives_way(held));
        let oldest = candidates.clone().next().filter(|_| others_have_more);
        let idle = candidates.find(|(_, held)| !held.activity.is_busy());
        idle.or(oldest).map(|(number, _)| Some(*number))
    }

    /// Connections now.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.table).held.len()
    }
}

impl Slot {
    /// Ends when another connection takes the slot.
    pub(super) async fn evicted(&mut self) {
        if let Some(evicted) = self.evicted.take() {
            // Nothing is sent: the other end is dropped with the entry.
            let _ = evicted.await;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.table).held.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::activity::Busy, *};

    const MANY: Client = Client::User(1);
    const FEW: Client = Client::User(2);

    fn is_evicted(slot: &mut Slot) -> bool {
        use oneshot::error::TryRecvError;
        let receiver = slot.evicted.as_mut().expect("not awaited");
        receiver.try_recv() == Err(TryRecvError::Closed)
    }

    fn evicted(slots: &mut [Slot]) -> Vec<usize> {
        (0..slots.len()).filter(|index| is_evicted(&mut slots[*index])).collect()
    }

    #[test]
    fn the_oldest_idle_connection_of_the_largest_client_gives_way() {
        let slots = Slots::new(4, 4);
        let mut held: Vec<Slot> = (0..4).map(|_| slots.take(MANY).expect("room")).collect();
        let busy = held[0].activity.begin();
        let first = slots.take(FEW).expect("room");
        assert_eq!((evicted(&mut held), slots.len()), (vec![1], 4));
        drop(busy);
        let second = slots.take(FEW).expect("room");
        assert_eq!(evicted(&mut held), [0, 1]);
        // Both have two: another of either takes the place of one of its own.
        let _third = slots.take(FEW).expect("room");
        assert_eq!((evicted(&mut held), slots.len()), (vec![0, 1], 4));
        drop((first, second));
        assert_eq!(slots.len(), 3);
    }

    #[test]
    fn requests_in_progress_give_way_to_a_client_with_fewer() {
        let slots = Slots::new(2, 2);
        let mut held: Vec<Slot> = (0..2).map(|_| slots.take(MANY).expect("room")).collect();
        let _busy: Vec<Busy> = held.iter().map(|slot| slot.activity.begin()).collect();
        assert!(slots.take(MANY).is_none(), "it has its share");
        let _other = slots.take(FEW).expect("room");
        assert_eq!((evicted(&mut held), slots.len()), (vec![0], 2));
    }

    #[test]
    fn one_client_never_has_more_than_its_share() {
        let slots = Slots::new(10, 3);
        let mut held: Vec<Slot> = (0..5).map(|_| slots.take(MANY).expect("room")).collect();
        assert_eq!((evicted(&mut held), slots.len()), (vec![0, 1], 3));
        let _busy: Vec<Busy> = held[2..].iter().map(|slot| slot.activity.begin()).collect();
        assert!(slots.take(MANY).is_none());
        assert!(slots.take(FEW).is_some());
    }
}
