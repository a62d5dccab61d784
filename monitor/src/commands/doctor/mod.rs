//! The page that an operator shows a colleague: what this kernel and these privileges allow, each
//! hook with its mechanism, what was passed over and why, and what to do about it.
//!
//! Of a running agent it tells what that agent says of its hooks. Without one, doctor tries: it
//! loads the programs, attaches the socket hooks for a moment, and the TC and generic XDP programs
//! to the loopback interface of a private network namespace. It never touches an interface of the
//! host, because attaching native XDP can reset a link.

mod facts;
mod hooks;
mod interfaces;
mod text;

use std::{path::Path, process::ExitCode};

use anyhow::Result;
use serde::Serialize;

use self::{
    facts::Fact,
    hooks::{HookReport, HookState},
    interfaces::InterfaceReport,
};
use crate::{commands::check, config::Config, metrics};
use monitor_kernel::{lockdown::Lockdown, memory, pins};

/// How well the agent can work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything is seen.
    Full,
    /// Something is lost.
    Degraded,
    /// The agent cannot work.
    Broken,
}

impl Verdict {
    /// The code that doctor exits with.
    const fn code(self) -> u8 {
        match self {
            Self::Full => 0,
            Self::Degraded => 1,
            Self::Broken => 2,
        }
    }
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        Self::from(verdict.code())
    }
}

/// The page.
#[derive(Debug, Serialize)]
pub struct Report {
    schema: &'static str,
    verdict: Verdict,
    kernel: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lockdown: Option<Lockdown>,
    agent: AgentState,
    facts: Vec<Fact>,
    interfaces: Vec<InterfaceReport>,
    hooks: Vec<HookReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel_memory_bytes: Option<u64>,
    watched_ports: usize,
    /// Whether series of ports that never saw anything are left out of the metrics.
    quiet_series_omitted: bool,
}

#[derive(Debug, Serialize)]
struct AgentState {
    running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
}

impl Report {
    /// Looks at this host as the agent would with this configuration.
    pub async fn make(config: &Config) -> Result<Self> {
        let running = pins::running(Path::new(pins::ROOT));
        let pid = running.as_ref().and_then(|running| running.pid);
        let mut facts = facts::of_host(running.as_ref());
        let all = interfaces::all().await;
        let counted = interfaces::counted(config, &all);
        let (hooks, kernel_memory_bytes) = match &running {
            Some(running) => {
                facts.extend(running.holders().map(facts::holders));
                hooks::attached(running, config, &counted)
            }
            None if facts.iter().any(Fact::is_fatal) => (Vec::new(), None),
            None => hooks::tried(config, &counted, &mut facts),
        };
        facts::relieve(&mut facts, &hooks);
        // An agent may have been started with another configuration.
        let watched = if running.is_some() { check::ask_agent().await.len() } else { 0 };
        let watched_ports = if watched > 0 { watched } else { config.ports.len() };
        Ok(Self {
            schema: "ghostport.doctor/1",
            verdict: verdict(&facts, &hooks),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            lockdown: Lockdown::in_force(),
            agent: AgentState { running: running.is_some(), pid },
            facts,
            interfaces: interfaces::reports(&counted, &all, &hooks),
            hooks,
            kernel_memory_bytes: kernel_memory_bytes
                .or_else(|| memory::of_maps(u32::try_from(pid?).ok()?).ok()),
            watched_ports,
            quiet_series_omitted: watched_ports > metrics::MAX_PREINITIALISED_PORTS,
        })
    }

    /// How well the agent can work.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// As a page for a terminal of 80 columns.
    pub fn to_text(&self, in_colour: bool) -> String {
        text::page(self, in_colour)
    }
}

fn verdict(facts: &[Fact], hooks: &[HookReport]) -> Verdict {
    let unserved = |hook: &HookReport| hook.state == HookState::Unserved;
    if facts.iter().any(Fact::is_fatal) || hooks.iter().all(unserved) {
        Verdict::Broken
    } else if facts.iter().any(|fact| !fact.ok) || hooks.iter().any(HookReport::loses_something) {
        Verdict::Degraded
    } else {
        Verdict::Full
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitor_kernel::hooks::{Hook, HookMechanism, HookStatus};

    fn hook(attached: Option<HookMechanism>) -> HookReport {
        let status = HookStatus {
            hook: Hook::Bind,
            interface: None,
            attached,
            adopted: false,
            passed_over: Vec::new(),
        };
        HookReport::new(&status, HookState::Attached, &Config::default())
    }

    #[test]
    fn the_verdict_follows_the_worst() {
        let fine = || Fact::ok("Mounts", "a mount", "there");
        let lost = || fine().lost("something", "something else");
        let full = || hook(Some(HookMechanism::Fexit));
        assert_eq!(verdict(&[fine()], &[full()]), Verdict::Full);
        assert_eq!(verdict(&[fine(), lost()], &[full()]), Verdict::Degraded);
        assert_eq!(verdict(&[], &[full(), hook(None)]), Verdict::Degraded);
        assert_eq!(verdict(&[], &[hook(Some(HookMechanism::Cgroup))]), Verdict::Degraded);
        assert_eq!(verdict(&[], &[hook(None)]), Verdict::Broken);
        assert_eq!(verdict(&[lost().fatal()], &[full()]), Verdict::Broken);
        assert_eq!(verdict(&[fine()], &[]), Verdict::Broken);
    }
}
