//! Whether hooks are still attached, by the kernel's word.

use std::time::Instant;

use anyhow::Result;

use super::{losses::Key, state::Attacher};
use crate::{
    clsact::{self, Filter},
    hooks::{Hook, HookMechanism, HookStatus},
    netlink::Socket,
    pins::Pins,
};

impl Attacher {
    /// Hooks that should be attached, and that the kernel has not attached. An interface that goes
    /// takes its hooks with it. Links whose pins were removed are pinned again.
    pub fn detached(&self, pins: Option<&Pins>) -> Vec<Key> {
        if let Some(pins) = pins {
            self.links.restore_pins(pins);
        }
        // One socket for all filters.
        let mut netlink = None;
        let is_attached = |status: &HookStatus| status.attached.is_some();
        let hooks = self.statuses.iter().filter(|(_, status)| is_attached(status));
        let detached = hooks.filter(|(key, status)| !self.is_attached(**key, status, &mut netlink));
        detached.map(|(key, _)| *key).collect()
    }

    fn is_attached(
        &self,
        (hook, ifindex): Key,
        status: &HookStatus,
        netlink: &mut Option<Socket>,
    ) -> bool {
        if status.attached != Some(HookMechanism::Clsact) {
            return self.links.are_attached(hook, ifindex);
        }
        let filter = self.filters.iter().find(|filter| filter.serves(hook, ifindex));
        let Some(filter) = filter else { return false };
        if netlink.is_none() {
            *netlink = Socket::open(None).ok();
        }
        // A kernel that does not answer has not said that the filter is gone.
        netlink.as_mut().is_none_or(|socket| filter.is_attached(socket).unwrap_or(true))
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
        let links = self.links.detach(pins, |link| link.serves(hook, ifindex)).map_err(Into::into);
        let filters = self.detach_filters(pins, |filter| filter.serves(hook, ifindex));
        for error in [links, filters].into_iter().filter_map(Result::err) {
            tracing::warn!(%error, %hook, "what is left of a hook cannot be removed");
        }
    }

    /// Removes the filters that `wanted` selects.
    pub(super) fn detach_filters(
        &mut self,
        pins: Option<&Pins>,
        wanted: impl Fn(&Filter) -> bool,
    ) -> Result<()> {
        let removed: Vec<Filter> = self.filters.extract_if(.., |filter| wanted(filter)).collect();
        removed.iter().try_for_each(|filter| clsact::detach(filter, pins))
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
