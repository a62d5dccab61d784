//! Looks at what is in the way of refused binds, so many a second.

use jiff::Timestamp;
use monitor_common::{call_share::Share, socket_event::BindResult, socket_record::SocketRecord};
use monitor_kernel::clock::boottime_ns;

use crate::{
    event::HeldBy,
    process::ProcessEnricher,
    sockets::{self, Occupant, RefusedBind},
};

/// Looks at once, and how fast there are more: a look visits every process.
const LOOKS: Share = Share { burst: 8, interval_ns: 250_000_000 };

/// The looks that are left.
#[derive(Debug, Default)]
pub(super) struct OccupantLooks {
    /// The word of [`LOOKS`].
    tokens: u64,
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
        if record.call.bind_result() != Some(BindResult::InUse) || !self.take(boottime_ns()) {
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

    fn take(&mut self, now_ns: u64) -> bool {
        let next = LOOKS.take(self.tokens, now_ns);
        self.tokens = next.unwrap_or(self.tokens);
        next.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_bounded_and_come_again() {
        let mut looks = OccupantLooks::default();
        let begin = 1_000_000_000;
        assert_eq!((0..100).filter(|_| looks.take(begin)).count(), 8);
        let next = begin + LOOKS.interval_ns;
        assert!(looks.take(next) && !looks.take(next));
        let later = begin + LOOKS.interval_ns * 1_000;
        assert_eq!((0..100).filter(|_| looks.take(later)).count(), 8);
    }
}
