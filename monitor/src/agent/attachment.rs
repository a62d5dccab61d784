//! Traffic hooks follow the interfaces of the host.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use monitor_kernel::{
    hooks::{HookChange, HookChangeKind, HookMechanism, HookStatus},
    interfaces::Interface,
};
use tokio::task::spawn_blocking;

use super::{lock::lock, state::Agent};
use crate::{config, event::Event};

/// Interfaces by index.
pub(super) type InterfaceList = BTreeMap<u32, Interface>;

impl Agent {
    /// Attaches to the selected interfaces of the host, and detaches from all others. An error means
    /// that the interfaces could not be listed.
    pub(super) async fn reconcile(&mut self) -> Result<()> {
        let interfaces = self.list_interfaces()?;
        self.reconcile_with(interfaces).await;
        Ok(())
    }

    /// The interfaces that there are now.
    pub(super) fn list_interfaces(&self) -> Result<InterfaceList> {
        self.interfaces.list().context("cannot list the interfaces")
    }

    /// [`Self::reconcile`] with a list that was read before.
    pub(super) async fn reconcile_with(&mut self, interfaces: InterfaceList) {
        self.note_unmatched_patterns(&interfaces);
        let selection = &self.config().interfaces;
        let (wanted, mode) = (selected(selection, &interfaces), selection.mode);
        let kernel = Arc::clone(&self.kernel);
        let changes =
            spawn_blocking(move || lock(&kernel).reconcile(&wanted, &interfaces, mode)).await;
        match changes {
            Ok(changes) => changes.iter().for_each(|change| self.report_change(change)),
            Err(error) => tracing::error!(%error, "the traffic hooks were not reconciled"),
        }
        self.sweep_qdiscs();
    }

    /// Asks the kernel whether the hooks are still attached. Those that something else detached are
    /// reported, and attached again in a while.
    pub(super) async fn check_hooks(&mut self) {
        if let Err(error) = self.find_lost_hooks().await {
            tracing::warn!("whether hooks are attached is unknown now: {error:#}");
        }
        self.hooks_lost.store(lock(&self.kernel).has_lost_hooks(), Ordering::Relaxed);
    }

    async fn find_lost_hooks(&mut self) -> Result<()> {
        let kernel = Arc::clone(&self.kernel);
        let mut detached = spawn_blocking(move || lock(&kernel).detached_hooks()).await?;
        if !detached.is_empty() {
            // An interface that goes leaves the list before it loses its hooks.
            let interfaces = self.list_interfaces()?;
            detached.retain(|(_, ifindex)| *ifindex == 0 || interfaces.contains_key(ifindex));
            let lost = lock(&self.kernel).lose(&detached);
            lost.iter().for_each(|change| self.report_hook(change));
        }
        if lock(&self.kernel).is_restoring_due() {
            self.restore_hooks().await?;
        }
        Ok(())
    }

    async fn restore_hooks(&mut self) -> Result<()> {
        let kernel = Arc::clone(&self.kernel);
        let mechanism = self.config().bind_mechanism;
        let restored = spawn_blocking(move || lock(&kernel).restore_sockets(mechanism)).await?;
        restored.iter().for_each(|change| self.report_hook(change));
        self.reconcile().await
    }

    /// A pattern that matches nothing may be a misspelling, or mean an interface that is yet to
    /// appear.
    fn note_unmatched_patterns(&mut self, interfaces: &InterfaceList) {
        let config = self.config();
        let unmatched = config.interfaces.unmatched(interfaces.values()).map(ToString::to_string);
        let unmatched: Vec<String> = unmatched.collect();
        for pattern in unmatched.iter().filter(|pattern| !self.unmatched_patterns.contains(pattern))
        {
            tracing::warn!(pattern, "no interface matches this pattern of interfaces.include");
        }
        lock(&self.status).unmatched_interface_patterns = unmatched.len();
        self.unmatched_patterns = unmatched;
    }

    /// Removes clsact qdiscs that this program made and no longer uses. One that cannot be removed
    /// is tried again at the next reconciliation.
    pub(super) fn sweep_qdiscs(&self) {
        let idle = lock(&self.kernel).idle_qdiscs();
        for ifindex in idle {
            self.interfaces.remove_empty_clsact(ifindex);
            if let Err(error) = lock(&self.kernel).forget_qdisc(ifindex) {
                tracing::warn!(ifindex, "the mark of a clsact qdisc stays: {error:#}");
            }
        }
    }

    /// Logs a change of a traffic hook, and reports it unless it is part of normal operation. What
    /// happens at the start is in the event of the start.
    fn report_change(&self, change: &HookChange) {
        let HookChange { status, kind } = change;
        if !self.ready.load(Ordering::Relaxed) {
            log_hook(status);
        } else if change.is_routine() || (*kind == HookChangeKind::First && self.is_gone(status)) {
            let (hook, interface) = (status.hook, status.interface.as_deref());
            let mechanism = status.attached.map(HookMechanism::name);
            tracing::debug!(%hook, interface, mechanism, "an interface came or went");
        } else {
            self.report_hook(status);
        }
    }

    /// Whether the interface of a hook has gone in the meantime, so that nothing could be attached.
    fn is_gone(&self, status: &HookStatus) -> bool {
        let is_its = |interface: &Interface| status.interface.as_ref() == Some(&interface.name);
        let interfaces = self.interfaces.list();
        interfaces.is_ok_and(|interfaces| !interfaces.values().any(is_its))
    }

    /// Logs the outcome of a hook and emits it as an event.
    fn report_hook(&self, status: &HookStatus) {
        log_hook(status);
        self.pipeline.emit(Event::hook_changed(Timestamp::now(), status, &self.context));
    }
}

/// Logs the outcome of a hook.
pub(super) fn log_hook(status: &HookStatus) {
    let interface = status.interface.as_deref();
    let passed_over: Vec<String> =
        status.rejected.iter().map(|p| format!("{}: {}", p.mechanism, p.why)).collect();
    let passed_over = passed_over.join("; ");
    match status.attached {
        Some(mechanism) => tracing::info!(
            hook = %status.hook, interface, %mechanism, adopted = status.adopted, passed_over,
            "attached"
        ),
        None => tracing::warn!(hook = %status.hook, interface, passed_over, "not attached"),
    }
}

/// Those of `interfaces` that the configuration selects.
pub(super) fn selected(
    selection: &config::Interfaces,
    interfaces: &InterfaceList,
) -> InterfaceList {
    interfaces
        .iter()
        .filter(|(_, interface)| selection.counts(interface))
        .map(|(index, interface)| (*index, interface.clone()))
        .collect()
}
