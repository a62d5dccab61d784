//! The report: facts, interfaces and hooks of this host, and the health that follows from them.

use std::process::ExitCode;

use anyhow::Result;
use monitor_kernel::{
    hooks::{Hook, HookMechanism},
    lockdown::Lockdown,
    memory,
};
use serde::Serialize;

use super::{
    addresses,
    agent::{self, Agent},
    automatic_ports, blind_spots,
    facts::{self, CGROUP2, Fact, TRACEFS},
    hooks::{self, HookReport, HookState},
    interfaces::{self, InterfaceReport},
    runs,
};
use crate::{api::client, config::Config, metrics};

/// How well the agent can work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Health {
    /// Everything is seen.
    Full,
    /// Something is lost.
    Degraded,
    /// This user may not see enough to say.
    Unknown,
    /// The agent cannot work.
    Broken,
}

impl Health {
    /// The code that doctor exits with.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Full => 0,
            Self::Degraded => 1,
            Self::Unknown | Self::Broken => 2,
        }
    }
}

impl From<Health> for ExitCode {
    fn from(health: Health) -> Self {
        Self::from(health.code())
    }
}

/// The document of `doctor --json`, from which the page is written, too.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    schema: &'static str,
    #[serde(rename = "verdict")]
    pub(super) health: Health,
    kernel: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lockdown: Option<Lockdown>,
    pub(super) agent: Agent,
    pub(super) facts: Vec<Fact>,
    pub(super) interfaces: Vec<InterfaceReport>,
    pub(super) hooks: Vec<HookReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kernel_memory_bytes: Option<u64>,
    pub(super) watched_ports: usize,
    /// Whether ports without activity have no series in the metrics.
    pub(super) quiet_series_omitted: bool,
}

impl Report {
    /// Looks at this host as the agent would with this configuration.
    pub(super) async fn make(config: &Config) -> Result<Self> {
        let agent = Agent::find().await;
        let mut facts = facts::of_host(&agent);
        let all = interfaces::all();
        let counted = interfaces::counted(config, &all);
        let (hooks, kernel_memory_bytes) = if agent.is_running == Some(true) {
            let holders = agent.traces.as_ref().and_then(|traces| traces.holders());
            facts.extend(holders.map(facts::holders));
            facts.extend(addresses::fact(&agent));
            let attached = agent.hooks(&counted);
            (attached.map(|statuses| hooks::attached(&statuses, config)), None)
        } else if facts.iter().any(Fact::is_fatal) {
            (Some(Vec::new()), None)
        } else if agent::is_ordinary_user() {
            (None, None)
        } else {
            let (hooks, bytes) = hooks::tried(config, &counted, &mut facts);
            (Some(hooks), bytes)
        };
        // An agent may have been started with another configuration.
        let is_running = agent.is_running == Some(true);
        let of_agent = if is_running { client::ports().await.ok().flatten() } else { None };
        let of_agent = of_agent.map(|ports| ports.len()).filter(|count| *count > 0);
        let watched_ports = of_agent.unwrap_or(config.ports.len());
        let may_call = watched_ports <= metrics::MAX_PREINITIALISED_PORTS;
        let traces = agent.traces.as_ref().filter(|_| is_running);
        facts.extend(traces.and_then(|traces| runs::fact(traces, &all, may_call)));
        let health = health(&facts, hooks.as_deref());
        let hooks = hooks.unwrap_or_default();
        relieve(&mut facts, &hooks);
        // They cost the agent nothing.
        facts.extend(automatic_ports::facts(config));
        let interfaces = interfaces::reports(&counted, &all, &hooks);
        facts.extend(blind_spots::of_host(&interfaces, &interfaces::with_xdp(&all)));
        let pid = agent.pid;
        Ok(Self {
            schema: "ghostport.doctor/1",
            health,
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            lockdown: Lockdown::in_force(),
            agent,
            facts,
            interfaces,
            hooks,
            kernel_memory_bytes: kernel_memory_bytes
                .or_else(|| memory::of_maps(u32::try_from(pid?).ok()?).ok()),
            watched_ports,
            quiet_series_omitted: watched_ports > metrics::MAX_PREINITIALISED_PORTS,
        })
    }
}

/// The health; `hooks` are `None` where this user may not see them.
fn health(facts: &[Fact], hooks: Option<&[HookReport]>) -> Health {
    let unserved = |hook: &HookReport| hook.state == HookState::Unserved;
    if facts.iter().any(Fact::is_fatal) {
        return Health::Broken;
    }
    let Some(hooks) = hooks else { return Health::Unknown };
    if hooks.iter().all(unserved) {
        Health::Broken
    } else if facts.iter().any(Fact::is_lost) || hooks.iter().any(HookReport::loses_something) {
        Health::Degraded
    } else {
        Health::Full
    }
}

/// Marks tracefs and cgroup2 as ok where no hook needs them: with fexit or kprobe for binds and
/// closes. Connects need cgroup2 where nothing else serves them.
fn relieve(facts: &mut [Fact], hooks: &[HookReport]) {
    let serves = |hook: Hook| {
        hooks.iter().any(|report| {
            report.hook == hook
                && matches!(report.mechanism, Some(HookMechanism::Fexit | HookMechanism::Kprobe))
        })
    };
    if !(serves(Hook::Bind) && serves(Hook::Close)) {
        return;
    }
    let is_connect_served =
        hooks.iter().any(|report| report.hook == Hook::Connect && report.mechanism.is_some());
    let relieved: &[&str] = if is_connect_served { &[TRACEFS, CGROUP2] } else { &[TRACEFS] };
    for fact in facts.iter_mut().filter(|fact| relieved.contains(&fact.name)) {
        if fact.is_lost() {
            fact.value.push_str("; nothing here needs it");
        }
        (fact.ok, fact.costs, fact.remedy) = (Some(true), None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitor_kernel::hooks::HookStatus;

    fn hook(attached: Option<HookMechanism>) -> HookReport {
        let status = HookStatus {
            hook: Hook::Bind,
            interface: None,
            attached,
            adopted: false,
            rejected: Vec::new(),
        };
        HookReport::new(&status, HookState::Attached, &Config::default())
    }

    #[test]
    fn health_is_that_of_the_worst_fact_or_hook() {
        let fine = || Fact::ok("Mounts", "a mount", "there");
        let lost = || fine().lost("something", "something else");
        let full = || hook(Some(HookMechanism::Fexit));
        let unknown = || fine().unknown("a reason");
        let health = |facts: &[Fact], hooks: &[HookReport]| health(facts, Some(hooks));
        assert_eq!(health(&[fine()], &[full()]), Health::Full);
        assert_eq!(health(&[fine(), unknown()], &[full()]), Health::Full);
        assert_eq!(health(&[fine(), lost()], &[full()]), Health::Degraded);
        assert_eq!(health(&[], &[full(), hook(None)]), Health::Degraded);
        assert_eq!(health(&[], &[hook(Some(HookMechanism::Cgroup))]), Health::Degraded);
        assert_eq!(health(&[], &[hook(None)]), Health::Broken);
        assert_eq!(health(&[lost().fatal()], &[full()]), Health::Broken);
        assert_eq!(health(&[fine()], &[]), Health::Broken);
        assert_eq!(super::health(&[fine(), lost()], None), Health::Unknown);
        assert_eq!(super::health(&[lost().fatal()], None), Health::Broken);
    }
}
