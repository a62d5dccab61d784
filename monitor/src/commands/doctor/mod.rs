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

use std::{io, path::Path, process::ExitCode};

use anyhow::Result;
use serde::Serialize;

use self::{
    facts::Fact,
    hooks::{HookReport, HookState},
    interfaces::InterfaceReport,
};
use crate::{
    api::client,
    cli::DoctorArgs,
    config::{Config, Overrides},
    metrics,
    terminal::{
        logging::{self, LogLevel},
        output::{self, CANNOT_LOOK, fail, print},
    },
};
use monitor_kernel::{lockdown::Lockdown, memory, pins};

/// How well the agent can work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Everything is seen.
    Full,
    /// Something is lost.
    Degraded,
    /// The agent cannot work.
    Broken,
}

impl Health {
    /// The code that doctor exits with.
    const fn code(self) -> u8 {
        match self {
            Self::Full => 0,
            Self::Degraded => 1,
            Self::Broken => 2,
        }
    }
}

impl From<Health> for ExitCode {
    fn from(health: Health) -> Self {
        Self::from(health.code())
    }
}

/// Looks, and prints the document or the page.
pub async fn run(args: &DoctorArgs) -> ExitCode {
    logging::init_for_command(LogLevel::Error);
    let report = async {
        let config = Config::load(args.config.path.as_deref(), &Overrides::default())?;
        Report::make(&config).await
    };
    let report = match report.await {
        Ok(report) => report,
        Err(error) => return fail(CANNOT_LOOK, &error),
    };
    let page = if args.json {
        output::pretty_json(&report).unwrap_or_default()
    } else {
        report.to_text(logging::colour_is_wanted(&io::stdout()))
    };
    print(page);
    report.health().into()
}

/// The page.
#[derive(Debug, Serialize)]
pub struct Report {
    schema: &'static str,
    #[serde(rename = "verdict")]
    health: Health,
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
        let of_agent = if running.is_some() { client::ports().await.ok().flatten() } else { None };
        let of_agent = of_agent.map(|ports| ports.len()).filter(|count| *count > 0);
        let watched_ports = of_agent.unwrap_or(config.ports.len());
        Ok(Self {
            schema: "ghostport.doctor/1",
            health: health(&facts, &hooks),
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
    pub fn health(&self) -> Health {
        self.health
    }

    /// As a page for a terminal of 80 columns.
    pub fn to_text(&self, in_colour: bool) -> String {
        text::page(self, in_colour)
    }
}

fn health(facts: &[Fact], hooks: &[HookReport]) -> Health {
    let unserved = |hook: &HookReport| hook.state == HookState::Unserved;
    if facts.iter().any(Fact::is_fatal) || hooks.iter().all(unserved) {
        Health::Broken
    } else if facts.iter().any(|fact| !fact.ok) || hooks.iter().any(HookReport::loses_something) {
        Health::Degraded
    } else {
        Health::Full
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
    fn health_is_that_of_the_worst_fact_or_hook() {
        let fine = || Fact::ok("Mounts", "a mount", "there");
        let lost = || fine().lost("something", "something else");
        let full = || hook(Some(HookMechanism::Fexit));
        assert_eq!(health(&[fine()], &[full()]), Health::Full);
        assert_eq!(health(&[fine(), lost()], &[full()]), Health::Degraded);
        assert_eq!(health(&[], &[full(), hook(None)]), Health::Degraded);
        assert_eq!(health(&[], &[hook(Some(HookMechanism::Cgroup))]), Health::Degraded);
        assert_eq!(health(&[], &[hook(None)]), Health::Broken);
        assert_eq!(health(&[lost().fatal()], &[full()]), Health::Broken);
        assert_eq!(health(&[fine()], &[]), Health::Broken);
    }
}
