//! The hooks of an interface.

use std::time::Instant;

use anyhow::Result;
use monitor_common::flow::LOOPBACK;

use super::state::Attacher;
use crate::{
    adoption,
    candidates::{self, Candidates},
    clsact::{self, Filter},
    hooks::{Hook, HookChange, HookChangeKind, HookMechanism, HookStatus},
    interfaces::Interface,
    link_kind::Link,
    mechanism::InterfaceMode,
    pins::Pins,
    programs::{self, ProgramSpec},
};

/// Every driver accepts an XDP program at this MTU, bytes: the packets fit in one buffer.
const ORDINARY_MTU: u32 = 1500;

impl Attacher {
    /// Attaches the traffic hooks of an interface that are not attached. Returns what changed.
    pub fn attach_traffic(
        &mut self,
        interface: &Interface,
        mode: InterfaceMode,
        pins: Option<&Pins>,
    ) -> Vec<HookChange> {
        let mut changes = Vec::new();
        for hook in Hook::OF_TRAFFIC {
            let key = (hook, interface.index);
            if let Some(status) = self.statuses.get_mut(&key)
                && status.attached.is_some()
            {
                status.interface = Some(interface.name.clone());
                continue;
            }
            if !self.losses.may_attach(key, Instant::now()) {
                continue;
            }
            let candidates = candidates::of_traffic(hook, mode, interface.link);
            let status = self
                .adopt_links(hook, Some(interface), &candidates, pins)
                .or_else(|| self.adopt_filter(hook, interface, &candidates, pins))
                .unwrap_or_else(|| self.attach_new_traffic(hook, interface, candidates, pins));
            self.losses.attempted(key, status.attached.is_some(), Instant::now());
            let before = self.statuses.insert(key, status.clone());
            if before.as_ref() != Some(&status) {
                let is_first = before.is_none();
                let kind = if is_first { HookChangeKind::First } else { HookChangeKind::Another };
                changes.push(HookChange { status, kind });
            }
        }
        changes
    }

    /// Detaches the hooks of an interface, which may be gone.
    pub fn detach_interface(
        &mut self,
        ifindex: u32,
        pins: Option<&Pins>,
    ) -> Result<Vec<HookChange>> {
        self.links.detach(pins, |link| link.ifindex == ifindex)?;
        self.detach_filters(pins, |filter| filter.ifindex == ifindex)?;
        let mut changes = Vec::new();
        for hook in Hook::OF_TRAFFIC {
            self.losses.forget((hook, ifindex));
            if let Some(status) = self.statuses.remove(&(hook, ifindex)) {
                let status = HookStatus { attached: None, rejected: Vec::new(), ..status };
                changes.push(HookChange { status, kind: HookChangeKind::Gone });
            }
        }
        Ok(changes)
    }

    /// Adopts the filter of an earlier agent, and replaces its program by this agent's. A filter that
    /// cannot be adopted is removed: two mechanisms at once would count twice.
    fn adopt_filter(
        &mut self,
        hook: Hook,
        interface: &Interface,
        candidates: &Candidates,
        pins: Option<&Pins>,
    ) -> Option<HookStatus> {
        let is_left = |filter: &Filter| filter.serves(hook, interface.index);
        if !self.filters.iter().any(is_left) {
            return None;
        }
        let mechanism = HookMechanism::Clsact;
        if candidates.mechanisms.contains(&mechanism)
            && self.attach_traffic_by(hook, mechanism, interface, pins).is_ok()
        {
            return Some(HookStatus {
                hook,
                interface: Some(interface.name.clone()),
                attached: Some(mechanism),
                adopted: true,
                rejected: adoption::rejected_before(
                    self.left.as_ref(),
                    hook,
                    interface.index,
                    mechanism,
                    candidates,
                ),
            });
        }
        if let Err(error) = self.detach_filters(pins, is_left) {
            tracing::warn!(%error, %hook, "a stale filter cannot be removed");
        }
        None
    }

    fn attach_new_traffic(
        &mut self,
        hook: Hook,
        interface: &Interface,
        candidates: Candidates,
        pins: Option<&Pins>,
    ) -> HookStatus {
        self.attach_first(hook, Some(interface), candidates, |this, mechanism| {
            this.attach_traffic_by(hook, mechanism, interface, pins)
        })
    }

    /// Attaches a traffic hook by one mechanism and no other.
    pub fn attach_traffic_by(
        &mut self,
        hook: Hook,
        mechanism: HookMechanism,
        interface: &Interface,
        pins: Option<&Pins>,
    ) -> Result<()> {
        let program = self.program(hook, mechanism, interface.link)?;
        if mechanism == HookMechanism::Clsact {
            return self.attach_filter(program, hook, interface, pins);
        }
        let (program, link) = match self.loader.attach_to_interface(program, hook, interface.index)
        {
            Ok(link) => (program, link),
            Err(error) => {
                let several = programs::for_several_buffers(hook, mechanism)
                    .filter(|_| may_need_several_buffers(interface));
                let attach = |program| {
                    let link = self.loader.attach_to_interface(program, hook, interface.index);
                    Some((program, link.ok()?))
                };
                several.and_then(attach).ok_or(error)?
            }
        };
        self.keep(program, hook, mechanism, interface.index, link, pins)
    }

    /// Loads the traffic programs of an Ethernet device: those of the first candidate that loads.
    pub fn load_traffic(&mut self, mode: InterfaceMode) -> Vec<HookStatus> {
        let load = |hook| {
            let candidates = candidates::of_traffic(hook, mode, Link::Ethernet);
            self.attach_first(hook, None, candidates, |this, mechanism| {
                let program = this.program(hook, mechanism, Link::Ethernet)?;
                this.loader.load(program)
            })
        };
        Hook::OF_TRAFFIC.map(load).into()
    }

    fn attach_filter(
        &mut self,
        program: &ProgramSpec,
        hook: Hook,
        interface: &Interface,
        pins: Option<&Pins>,
    ) -> Result<()> {
        let left = self.filters.iter().find(|filter| filter.serves(hook, interface.index)).cloned();
        let name = program.name;
        let program = self.loader.load_tc(program)?;
        let filter = clsact::attach(program, name, hook, interface.index, left.as_ref(), pins)?;
        self.filters.retain(|other| Some(other) != left.as_ref());
        self.filters.push(filter);
        Ok(())
    }

    /// The one program of a traffic hook.
    fn program(
        &self,
        hook: Hook,
        mechanism: HookMechanism,
        link: Link,
    ) -> Result<&'static ProgramSpec> {
        let mut programs = programs::of(hook, mechanism, self.environment(link));
        programs.next().ok_or_else(|| anyhow::anyhow!("no program serves {hook} by {mechanism}"))
    }
}

/// Whether the interface may have refused the plain program for the size of its packets. Loading
/// another program takes time, and the loopback device refuses all of them.
const fn may_need_several_buffers(interface: &Interface) -> bool {
    interface.mtu > ORDINARY_MTU
        && interface.index != LOOPBACK
        && !matches!(interface.link, Link::Veth)
}
