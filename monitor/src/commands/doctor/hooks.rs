//! The hooks: those of a running agent, or the results of trying them.

use anyhow::Result;
use serde::Serialize;

use super::facts::{self, Fact};
use crate::{config::Config, terminal::message::message};
use monitor_kernel::mechanism::{BindMechanism, InterfaceMode};
use monitor_kernel::{
    Kernel, Options, candidates, capabilities,
    hooks::{Hook, HookMechanism, HookStatus, Rejection},
    interfaces::Interface,
    memory, trial,
};

/// A hook, on one interface where it has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct HookReport {
    pub(super) hook: Hook,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) interface: Option<String>,
    /// The mechanism in use, or the one that would be tried first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mechanism: Option<HookMechanism>,
    pub(super) state: HookState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) loses: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<&'static str>,
    #[serde(rename = "passed_over")]
    pub(super) rejected: Vec<Rejection>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum HookState {
    /// An agent has it attached.
    Attached,
    /// It was tried just now, and works.
    Works,
    /// The agent will try it first.
    Candidate,
    /// No mechanism serves it.
    Unserved,
}

impl HookReport {
    pub(super) fn new(status: &HookStatus, state: HookState, config: &Config) -> Self {
        let loses = match status.attached {
            Some(mechanism) => mechanism.loses(status.hook),
            None => Some(status.hook.purpose()),
        };
        Self {
            hook: status.hook,
            interface: status.interface.clone(),
            mechanism: status.attached,
            state: if status.attached.is_some() { state } else { HookState::Unserved },
            loses,
            remedy: loses.and_then(|_| remedy(status, config)),
            rejected: status.rejected.clone(),
        }
    }

    pub(super) fn loses_something(&self) -> bool {
        self.loses.is_some()
    }
}

/// What would get a hook a better mechanism, beside the remedies of the facts.
fn remedy(status: &HookStatus, config: &Config) -> Option<&'static str> {
    use HookMechanism::{Cgroup, CgroupSuccess, Tracepoint, XdpGeneric};
    let is_traffic = matches!(status.hook, Hook::Ingress | Hook::Egress);
    if is_traffic && config.interfaces.mode != InterfaceMode::Auto {
        return Some("interfaces.mode: auto would try every mechanism");
    }
    if status.hook == Hook::Connect {
        return Some("mount a unified hierarchy of control groups (cgroup2)");
    }
    if !is_traffic && config.bind_mechanism != BindMechanism::Auto {
        return Some("bind.mechanism: auto would try every mechanism");
    }
    match status.attached {
        Some(XdpGeneric) => Some("use a kernel with TCX (6.6) or the clsact qdisc (sch_ingress)"),
        Some(Cgroup | CgroupSuccess | Tracepoint) => {
            Some("use a kernel with BPF trampolines (fexit) or kprobes")
        }
        _ => None,
    }
}

/// The hooks of a running agent.
pub(super) fn attached(statuses: &[HookStatus], config: &Config) -> Vec<HookReport> {
    let report = |status| HookReport::new(status, HookState::Attached, config);
    statuses.iter().map(report).collect()
}

/// The results of a trial.
struct Trial {
    sockets: Vec<HookStatus>,
    loopback: Vec<HookStatus>,
    memory: Option<u64>,
    holders_unsupported: Option<String>,
}

/// The results of trying the hooks, and the memory of the maps in bytes.
pub(super) fn tried(
    config: &Config,
    interfaces: &[Interface],
    facts: &mut Vec<Fact>,
) -> (Vec<HookReport>, Option<u64>) {
    let can_attach = capabilities::has_sys_admin();
    let trial = if can_attach {
        trial::run(|| try_hooks(config, interfaces, true))
    } else {
        try_hooks(config, interfaces, false)
    };
    let trial = match trial {
        Ok(trial) => trial,
        Err(error) => {
            let fact = Fact::ok("Hooks", "programs", "cannot be loaded");
            let remedy = "see what is marked above";
            facts.push(fact.lost(message(&error), remedy).fatal());
            return (Vec::new(), None);
        }
    };
    let mut hooks = Vec::new();
    for interface in interfaces {
        for status in &trial.loopback {
            hooks.push(expected(status, interface, config, can_attach));
        }
    }
    facts.push(facts::holders(trial.holders_unsupported.as_deref().map_or(Ok(()), Err)));
    let works = |status| HookReport::new(status, HookState::Works, config);
    hooks.extend(trial.sockets.iter().map(works));
    (hooks, trial.memory)
}

/// Attaches the traffic programs to the loopback interface only where that is a private one.
fn try_hooks(config: &Config, interfaces: &[Interface], is_private: bool) -> Result<Trial> {
    let (mut kernel, _streams) = Kernel::start_unpinned(Options::TRIAL)?;
    kernel.watch(&config.port_numbers().collect())?;
    let sockets = kernel.attach_sockets(config.bind_mechanism);
    let mode = config.interfaces.mode;
    let loopback =
        if is_private { kernel.attach_loopback(mode)? } else { kernel.load_traffic(mode) };
    kernel.make_room_for(interfaces)?;
    let memory = memory::of_maps(std::process::id()).ok().filter(|bytes| *bytes > 0);
    let holders_unsupported = kernel.holders_unsupported().map(str::to_owned);
    Ok(Trial { sockets, loopback, memory, holders_unsupported })
}

/// The expectation for `interface` from the trial on a loopback one: its link type rules mechanisms
/// out, and whether native XDP works depends on its driver.
fn expected(
    status: &HookStatus,
    interface: &Interface,
    config: &Config,
    was_attached: bool,
) -> HookReport {
    let candidates = candidates::of_traffic(status.hook, config.interfaces.mode, interface.link);
    let native = HookMechanism::XdpNative;
    let asks_driver = interface.name != "lo"
        && candidates.mechanisms.contains(&native)
        && status.rejected.iter().any(|rejection| rejection.mechanism == native && was_attached);
    let fits = |mechanism: &HookMechanism| candidates.mechanisms.contains(mechanism);
    let tried = status.rejected.iter().filter(|rejection| fits(&rejection.mechanism)).cloned();
    let mut rejected: Vec<Rejection> = candidates.rejected.iter().cloned().chain(tried).collect();
    let mut attached = status.attached.filter(fits);
    if asks_driver {
        rejected.retain(|rejection| rejection.mechanism != native);
        attached = Some(native);
    }
    let status = HookStatus {
        hook: status.hook,
        interface: Some(interface.name.clone()),
        attached,
        adopted: false,
        rejected,
    };
    let state = if asks_driver || !was_attached { HookState::Candidate } else { HookState::Works };
    HookReport::new(&status, state, config)
}
