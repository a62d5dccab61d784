//! The captures of the last minute: a program may answer by a packet socket, and end before a scan
//! looks for what answered.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::sockets::{Capture, CaptureKind};

/// How long a capture is kept after it was last seen. The scan that explains an answer comes a few
/// seconds after it at most.
const LASTS: Duration = Duration::from_secs(60);

/// Captures that are kept at most: a program may open them in a loop.
const MOST: usize = 256;

/// The captures of the last minute, by kind, namespace and inode.
#[derive(Debug, Default)]
pub(super) struct RecentCaptures(BTreeMap<(CaptureKind, Option<u32>, u32), (Instant, Capture)>);

impl RecentCaptures {
    /// Adds those of `captures`, which are there `now`, by which a program may answer.
    pub(super) fn add(&mut self, captures: &[Capture], now: Instant) {
        self.0.retain(|_, (seen, _)| now.duration_since(*seen) < LASTS);
        let may_answer = |capture: &&Capture| {
            let is_raw = capture.kind == CaptureKind::RawSocket;
            (is_raw || capture.is_targeted()) && !capture.holders.is_empty()
        };
        for capture in captures.iter().filter(may_answer) {
            let key = (capture.kind, capture.netns_inode, capture.inode);
            if self.0.len() < MOST || self.0.contains_key(&key) {
                self.0.insert(key, (now, capture.clone()));
            }
        }
    }

    /// Those that are kept `now`.
    pub(super) fn list(&self, now: Instant) -> Vec<Capture> {
        let kept = self.0.values().filter(|(seen, _)| now.duration_since(*seen) < LASTS);
        kept.map(|(_, capture)| capture.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use monitor_common::flow::Protocol;

    use super::*;
    use crate::{
        process::Identity,
        sockets::{CapturedPort, Scope, packet_socket},
    };

    fn targeted(inode: u32) -> Capture {
        let port = CapturedPort { port: 2948, protocol: Protocol::Udp };
        let holders = vec![Arc::new(Identity::unknown(7))];
        Capture { inode, holders, ..packet_socket(Scope::OnlyWatched(vec![port])) }
    }

    #[test]
    fn keeps_what_may_answer_for_a_minute() {
        let now = Instant::now();
        let mut recent = RecentCaptures::default();
        recent.add(&[targeted(1), packet_socket(Scope::Everything)], now);
        assert_eq!(recent.list(now + LASTS / 2), [targeted(1)]);
        recent.add(&[targeted(1)], now + LASTS / 2);
        assert_eq!(recent.list(now + LASTS), [targeted(1)], "seen again");
        assert!(recent.list(now + 2 * LASTS).is_empty());
    }

    #[test]
    fn a_flood_of_captures_is_bounded() {
        let now = Instant::now();
        let mut recent = RecentCaptures::default();
        let flood: Vec<Capture> = (0..2 * MOST as u32).map(targeted).collect();
        recent.add(&flood, now);
        assert_eq!(recent.list(now).len(), MOST);
        recent.add(&flood[..1], now + LASTS);
        assert_eq!(recent.list(now + LASTS).len(), 1);
    }
}
