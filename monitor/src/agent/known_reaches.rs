//! The ways to ports that were found in the last minutes.

use std::{collections::HashMap, time::Duration};

use monitor_common::flow::Protocol;
use tokio::time::Instant;

use crate::sockets::{Path, PortReach};

/// How long a way is shown, as long as the state `answered` lasts.
const LASTS: Duration = Duration::from_secs(300);

/// The ways to ports that were found in the last minutes.
#[derive(Debug, Default)]
pub(super) struct KnownReaches(HashMap<(u16, Protocol), (Instant, Vec<PortReach>)>);

impl KnownReaches {
    /// Records what was found for `wanted`. Where nothing was, what was known before stays.
    pub(super) fn record(&mut self, wanted: &[(u16, Protocol)], found: &[PortReach], now: Instant) {
        self.0.retain(|_, (at, _)| now.duration_since(*at) < LASTS);
        for (port, protocol) in wanted {
            let is_it = |reach: &&PortReach| (reach.port, reach.protocol) == (*port, *protocol);
            let reaches: Vec<PortReach> = found.iter().filter(is_it).cloned().collect();
            let is_known = reaches.iter().any(|reach| reach.reach.path != Path::Unknown);
            // A way that cannot be found this time is no other one.
            if is_known || (!reaches.is_empty() && !self.0.contains_key(&(*port, *protocol))) {
                self.0.insert((*port, *protocol), (now, reaches));
            }
        }
    }

    /// The ways to a port.
    pub(super) fn of_port(&self, port: u16, now: Instant) -> Vec<PortReach> {
        let keys = Protocol::ALL.map(|protocol| (port, protocol));
        let known = keys.iter().filter_map(|key| self.0.get(key));
        let lasting = known.filter(|(at, _)| now.duration_since(*at) < LASTS);
        lasting.flat_map(|(_, reaches)| reaches).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockets::{Place, Reach};

    #[test]
    fn forgets_ways_after_some_minutes() {
        let reach = PortReach {
            port: 2948,
            protocol: Protocol::Tcp,
            netns_inode: 1,
            reach: Reach::default(),
            is_in_use: false,
            connections: None,
            place: Place::Unknown,
            pod: None,
            holders: Vec::new(),
        };
        let now = Instant::now();
        let mut known = KnownReaches::default();
        let wanted = [(2948, Protocol::Tcp)];
        known.record(&wanted, std::slice::from_ref(&reach), now);
        known.record(&wanted, &[], now + LASTS / 2);
        assert_eq!(known.of_port(2948, now + LASTS / 2), [reach]);
        assert!(known.of_port(2948, now + LASTS).is_empty());
        assert!(known.of_port(2949, now).is_empty());
    }
}
