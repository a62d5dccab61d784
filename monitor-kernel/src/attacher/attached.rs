//! Whether hooks are still attached, by the kernel's word.

use std::time::Instant;

use super::{losses::Key, state::Attacher};
use crate::{
    clsact,
    hooks::{Hook, HookMechanism, HookStatus},
    netlink::Socket,
    pins::Pins,
};

impl Attacher {
    /// Hooks that should be attached, and that the kernel has not attached. An interface that goes
    /// takes its hooks with it.
    pub fn detached(&self, pins: Option<&Pins>) -> Vec<Key> {
        let is_attached = |status: &HookStatus| status.attached.is_some();
        let hooks = self.statuses.iter().filter(|(_, status)| is_attached(status));
        let detached = hooks.filter(|(key, status)| !self.is_attached(**key, status, pins));
        detached.map(|(key, _)| *key).collect()
    }

    fn is_attached(&self, (hook, ifindex): Key, status: &HookStatus, pins: Option<&Pins>) -> bool {
        if status.attached != Some(HookMechanism::Clsact) {
            return self.links.are_attached(hook, ifindex, pins);
        }
        let filter = self.filters.iter().find(|f| (f.hook, f.ifindex) == (hook, ifindex));
        let Some(filter) = filter else { return false };
        // A kernel that does not answer has not said that the filter is gone.
        Socket::open(None).and_then(|mut socket| filter.is_attached(&mut socket)).unwrap_or(true)
    }

    /// Notes that hooks were detached behind the agent: they are attached again in a while. Returns
    /// their statuses.
    pub fn lose(&mut self, hooks: &[Key], pins: Option<&Pins>) -> Vec<HookStatus> {
        let mut lost = Vec::new();
        for key in hooks {
            let Some(status) = self.statuses.get(key) else { continue };
            let Some(mechanism) = status.attached else { continue };
            let status = status.detached(mechanism);
            self.remove_rest(*key, pins);
            self.losses.add(*key, Instant::now());
            self.statuses.insert(*key, status.clone());
            lost.push(status);
        }
        lost
    }

    /// Removes what is left of a hook, so that no packet or call is counted twice later.
    fn remove_rest(&mut self, (hook, ifindex): Key, pins: Option<&Pins>) {
        let serves = |of: (_, u32)| of == (hook, ifindex);
        if let Err(error) = self.links.detach(pins, |link| serves((link.hook, link.ifindex))) {
            tracing::warn!(%error, %hook, "what is left of a hook cannot be removed");
        }
        for filter in self.filters.iter().filter(|filter| serves((filter.hook, filter.ifindex))) {
            if let Err(error) = clsact::detach(filter, pins) {
                tracing::warn!(%error, %hook, "what is left of a hook cannot be removed");
            }
        }
        self.filters.retain(|filter| !serves((filter.hook, filter.ifindex)));
    }

    /// Whether hooks are lost now.
    pub fn has_lost(&self) -> bool {
        self.losses.lost().next().is_some()
    }

    /// Whether a lost hook is to be attached now.
    pub fn is_restoring_due(&self) -> bool {
        self.losses.is_due(Instant::now())
    }

    /// How often hooks were detached behind this agent.
    pub fn loss_counts(&self) -> [u64; Hook::ALL.len()] {
        self.losses.counts()
    }
}
