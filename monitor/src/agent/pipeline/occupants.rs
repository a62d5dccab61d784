//! Looks at what is in the way of refused binds, so many a second.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use monitor_common::{socket_event::BindResult, socket_record::SocketRecord};

use crate::{
    event::HeldBy,
    process::ProcessEnricher,
    sockets::{self, Occupant, RefusedBind},
};

/// Looks at once, and one more after each of these: a look visits every process.
const BURST: u32 = 8;
const INTERVAL: Duration = Duration::from_millis(250);

/// The looks that are left.
#[derive(Debug)]
pub(super) struct OccupantLooks {
    left: u32,
    renewed_at: Instant,
}

impl Default for OccupantLooks {
    fn default() -> Self {
        Self { left: BURST, renewed_at: Instant::now() }
    }
}

impl OccupantLooks {
    /// What was in the way of a bind that was refused at `time`; `None` for every other call, beyond the
    /// looks that are left, and where it is not known any more.
    pub(super) fn held_by(
        &mut self,
        record: &SocketRecord,
        time: Timestamp,
        netns_inode: Option<u32>,
        processes: &mut ProcessEnricher,
    ) -> Option<HeldBy> {
        if record.call.bind_result() != Some(BindResult::InUse) || !self.take(Instant::now()) {
            return None;
        }
        let bind = RefusedBind {
            protocol: record.protocol?,
            address: record.local_address,
            port: record.port,
            netns_inode: record.netns_inode,
            caller: record.caller.as_ref().map(|caller| caller.tgid),
        };
        let found = Occupant::of(&bind, processes).unwrap_or_else(|error| {
            tracing::debug!(%error, port = bind.port, "what is in the way of a bind is not known");
            None
        });
        let is_here = record.netns_inode.is_some() && record.netns_inode == netns_inode;
        let is_automatic = is_here.then(|| sockets::automatic_ports().contains(&record.port));
        HeldBy::new(&found?, is_automatic, time)
    }

    fn take(&mut self, now: Instant) -> bool {
        let earned = (now - self.renewed_at).as_millis() / INTERVAL.as_millis();
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(BURST);
            self.left = self.left.saturating_add(earned).min(BURST);
            self.renewed_at = now;
        }
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_bounded_and_come_again() {
        let mut looks = OccupantLooks::default();
        let begin = looks.renewed_at;
        assert_eq!((0..100).filter(|_| looks.take(begin)).count(), BURST as usize);
        assert!(looks.take(begin + INTERVAL) && !looks.take(begin + INTERVAL));
        let later = begin + INTERVAL * 1_000;
        assert_eq!((0..100).filter(|_| looks.take(later)).count(), BURST as usize);
    }
}
