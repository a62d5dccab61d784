//! Hooks that were detached behind the agent, and when each is attached again.
//!
//! Not at once: whoever detached it may be about to do more, and a monitor that asks now and then must
//! see that the hook was gone. A hook that is lost again and again is attached less and less often.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::hooks::Hook;

/// A hook, on the interface of this index or on none (0).
pub(super) type Key = (Hook, u32);

/// Time until the first attempt, and the longest between two.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A hook that stays attached for so long begins with the first pause again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// Losses by [`Hook`], in the order of [`Hook::ALL`].
pub(super) type LossCounts = [u64; Hook::ALL.len()];

/// What was lost, and how often.
#[derive(Debug, Default)]
pub(super) struct Losses {
    hooks: BTreeMap<Key, Loss>,
    counts: LossCounts,
}

#[derive(Debug)]
struct Loss {
    pause: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Not attached; the next attempt is due then.
    Lost(Instant),
    /// Attached again since then.
    Restored(Instant),
}

impl Losses {
    /// Notes that a hook is not attached any more.
    pub(super) fn add(&mut self, key: Key, now: Instant) {
        let kind = Hook::ALL.iter().position(|hook| *hook == key.0);
        if let Some(count) = kind.and_then(|kind| self.counts.get_mut(kind)) {
            *count += 1;
        }
        let pause = match self.hooks.get(&key) {
            Some(Loss { pause, state: State::Restored(since) })
                if now.duration_since(*since) < FORGIVEN_AFTER =>
            {
                (*pause * 2).min(LONGEST_PAUSE)
            }
            _ => FIRST_PAUSE,
        };
        self.hooks.insert(key, Loss { pause, state: State::Lost(now + pause) });
    }

    /// Whether a hook may be attached now: it was not lost, or its pause is over.
    pub(super) fn may_attach(&self, key: Key, now: Instant) -> bool {
        match self.hooks.get(&key) {
            Some(Loss { state: State::Lost(due), .. }) => *due <= now,
            _ => true,
        }
    }

    /// Notes how an attempt to attach a hook ended, if it was lost.
    pub(super) fn attempted(&mut self, key: Key, is_attached: bool, now: Instant) {
        let Some(loss) = self.hooks.get_mut(&key) else { return };
        if is_attached {
            loss.state = State::Restored(now);
        } else {
            loss.pause = (loss.pause * 2).min(LONGEST_PAUSE);
            loss.state = State::Lost(now + loss.pause);
        }
    }

    /// Forgets a hook that is not wanted any more.
    pub(super) fn forget(&mut self, key: Key) {
        self.hooks.remove(&key);
    }

    /// The hooks that are lost.
    pub(super) fn lost(&self) -> impl Iterator<Item = Key> {
        let is_lost = |loss: &Loss| matches!(loss.state, State::Lost(_));
        self.hooks.iter().filter(move |(_, loss)| is_lost(loss)).map(|(key, _)| *key)
    }

    /// Whether an attempt is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.lost().any(|key| self.may_attach(key, now))
    }

    /// Losses since the start.
    pub(super) const fn counts(&self) -> LossCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = (Hook::Ingress, 7);

    #[test]
    fn a_lost_hook_is_attached_after_a_pause() {
        let (mut losses, start) = (Losses::default(), Instant::now());
        assert!(losses.may_attach(KEY, start));
        losses.add(KEY, start);
        assert_eq!(losses.lost().collect::<Vec<_>>(), [KEY]);
        assert!(!losses.may_attach(KEY, start) && !losses.is_due(start));
        assert!(losses.may_attach((Hook::Egress, 7), start));
        let due = start + FIRST_PAUSE;
        assert!(losses.may_attach(KEY, due) && losses.is_due(due));
        losses.attempted(KEY, true, due);
        assert_eq!(losses.lost().count(), 0);
        assert_eq!(losses.counts(), [1, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn pauses_grow_while_a_hook_is_lost_again_and_again() {
        let (mut losses, mut now) = (Losses::default(), Instant::now());
        let pause = |losses: &Losses| losses.hooks[&KEY].pause.as_secs();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            losses.add(KEY, now);
            pauses.push(pause(&losses));
            now += Duration::from_secs(60);
            losses.attempted(KEY, true, now);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        losses.add(KEY, now + FORGIVEN_AFTER);
        assert_eq!(pause(&losses), 1);
        losses.attempted(KEY, false, now);
        losses.attempted(KEY, false, now);
        assert_eq!(pause(&losses), 4);
        losses.forget(KEY);
        assert!(losses.may_attach(KEY, now));
    }
}
