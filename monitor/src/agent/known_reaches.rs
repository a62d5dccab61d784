//! The ways to ports that were found in the last minutes.

use std::{collections::HashMap, time::Duration};

use monitor_common::flow::Protocol;
use tokio::time::Instant;

use crate::sockets::{Path, PortReach, Standing};

/// How long a way is shown, as long as the state `answered` lasts.
const LASTS: Duration = Duration::from_secs(300);

/// The ways to ports that were found in the last minutes.
#[derive(Debug, Default)]
pub(super) struct KnownReaches(HashMap<(u16, Protocol), Known>);

/// The ways to a port.
#[derive(Debug)]
struct Known {
    found: Instant,
    ways: Vec<Way>,
}

#[derive(Debug)]
struct Way {
    reach: PortReach,
    /// Whether it was there when it was last looked for.
    is_there: bool,
}

impl KnownReaches {
    /// Records what was found for `wanted`. Where nothing was, what was known before stays.
    pub(super) fn record(&mut self, wanted: &[(u16, Protocol)], found: &[PortReach], now: Instant) {
        self.0.retain(|_, known| known.lasts(now));
        for (port, protocol) in wanted {
            let is_it = |reach: &&PortReach| (reach.port, reach.protocol) == (*port, *protocol);
            let reaches: Vec<&PortReach> = found.iter().filter(is_it).collect();
            let is_known = reaches.iter().any(|reach| reach.reach.path != Path::Unknown);
            // A way that cannot be found this time is no other one.
            if is_known || (!reaches.is_empty() && !self.0.contains_key(&(*port, *protocol))) {
                let way = |reach: &PortReach| Way { reach: reach.clone(), is_there: true };
                let ways = reaches.into_iter().map(way).collect();
                self.0.insert((*port, *protocol), Known { found: now, ways });
            }
        }
    }

    /// The ports and protocols with a way that may end meanwhile, and its path.
    pub(super) fn to_review(&self, now: Instant) -> Vec<(u16, Protocol, Path)> {
        let lasting = self.0.iter().filter(|(_, known)| known.lasts(now));
        let path = |known: &Known| {
            let mut paths = known.ways.iter().map(|way| way.reach.reach.path);
            paths.find(|path| *path != Path::Unknown)
        };
        lasting
            .filter_map(|((port, protocol), known)| Some((*port, *protocol, path(known)?)))
            .collect()
    }

    /// Notes which ways are still there: those among `found`, which is what a look found of all ports
    /// that have known ways.
    pub(super) fn review(&mut self, found: &[PortReach]) {
        for way in self.0.values_mut().flat_map(|known| &mut known.ways) {
            let is_it =
                |now: &PortReach| now.standing != Standing::Over && now.is_same_way(&way.reach);
            way.is_there = way.reach.reach.path == Path::Unknown || found.iter().any(is_it);
        }
    }

    /// The ways to a port.
    pub(super) fn of_port(&self, port: u16, now: Instant) -> Vec<PortReach> {
        let keys = Protocol::ALL.map(|protocol| (port, protocol));
        let known = keys.iter().filter_map(|key| self.0.get(key));
        let ways = known.filter(|known| known.lasts(now)).flat_map(|known| &known.ways);
        ways.map(Way::reach).collect()
    }
}

impl Known {
    fn lasts(&self, now: Instant) -> bool {
        now.duration_since(self.found) < LASTS
    }
}

impl Way {
    fn reach(&self) -> PortReach {
        let reach = self.reach.clone();
        match (self.is_there, reach.standing) {
            (true, _) | (false, Standing::Over) => reach,
            (false, _) => PortReach {
                standing: Standing::Over,
                connections: reach.connections.map(|_| 0),
                ..reach
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockets::{Place, Reach};

    fn reach(path: Path, standing: Standing) -> PortReach {
        PortReach {
            port: 2948,
            protocol: Protocol::Tcp,
            netns_inode: 1,
            reach: Reach { path, target: Some("10.0.0.1:8080".to_owned()) },
            standing,
            connections: Some(3),
            place: Place::Unknown,
            pod: None,
            holders: Vec::new(),
        }
    }

    const WANTED: [(u16, Protocol); 1] = [(2948, Protocol::Tcp)];

    #[test]
    fn forgets_ways_after_some_minutes() {
        let reach = reach(Path::Unknown, Standing::InUse);
        let now = Instant::now();
        let mut known = KnownReaches::default();
        known.record(&WANTED, std::slice::from_ref(&reach), now);
        known.record(&WANTED, &[], now + LASTS / 2);
        assert_eq!(known.of_port(2948, now + LASTS / 2), [reach]);
        assert!(known.of_port(2948, now + LASTS).is_empty());
        assert!(known.of_port(2949, now).is_empty());
    }

    #[test]
    fn a_way_is_over_while_it_is_not_found() {
        let used = reach(Path::Redirect, Standing::InUse);
        let now = Instant::now();
        let mut known = KnownReaches::default();
        known.record(&WANTED, std::slice::from_ref(&used), now);
        assert_eq!(known.to_review(now), [(2948, Protocol::Tcp, Path::Redirect)]);
        let mut standing = |found: &[PortReach]| {
            known.review(found);
            known.of_port(2948, now)[0].standing
        };
        // The rule alone has no address.
        let mut rule = reach(Path::Redirect, Standing::Configured);
        rule.reach.target = Some(":8080".to_owned());
        assert_eq!(standing(std::slice::from_ref(&rule)), Standing::InUse);
        assert_eq!(standing(&[]), Standing::Over);
        assert_eq!(standing(&[reach(Path::Redirect, Standing::Over)]), Standing::Over);
        assert_eq!(standing(&[reach(Path::Dnat, Standing::InUse)]), Standing::Over);
        assert_eq!(standing(&[rule]), Standing::InUse, "it has come back");
    }

    #[test]
    fn a_way_that_is_unknown_is_not_reviewed() {
        let now = Instant::now();
        let mut known = KnownReaches::default();
        known.record(&WANTED, &[reach(Path::Unknown, Standing::InUse)], now);
        assert!(known.to_review(now).is_empty());
        known.review(&[]);
        assert_eq!(known.of_port(2948, now)[0].standing, Standing::InUse);
    }
}
