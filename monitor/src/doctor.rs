//! What this kernel and these privileges allow: each hook, its mechanism, what was passed over and
//! why, and what to do about it.
//!
//! Without an agent, doctor tries: it loads the programs, attaches the socket hooks for a moment,
//! and the TC and generic XDP programs to the loopback interface of a private network namespace.
//! It never touches an interface of the host, because attaching native XDP can reset a link.

use std::{fmt::Write as _, fs, path::Path, process::ExitCode};

use anyhow::Result;
use serde::Serialize;

use crate::{
    config::Config,
    kernel::{
        self, Kernel, Options, attach,
        capabilities::{self, CAPABILITIES},
        hooks::{Hook, HookMechanism, HookStatus},
        interfaces::{Interface, Interfaces},
        memory,
        pins::{self, Running},
        trial,
    },
};

/// How well the agent can work here.
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

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Full => Self::SUCCESS,
            Verdict::Degraded => Self::from(1),
            Verdict::Broken => Self::from(2),
        }
    }
}

/// The page.
#[derive(Debug, Serialize)]
pub struct Report {
    schema: &'static str,
    verdict: Verdict,
    kernel: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lockdown: Option<String>,
    agent: AgentState,
    facts: Vec<Fact>,
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

/// Something that the kernel side needs or is better with.
#[derive(Debug, Serialize)]
struct Fact {
    name: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    costs: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    #[serde(skip)]
    vital: bool,
}

#[derive(Debug, Serialize)]
struct HookReport {
    hook: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    /// The mechanism in use, or the one that would be tried first.
    #[serde(skip_serializing_if = "Option::is_none")]
    mechanism: Option<&'static str>,
    state: HookState,
    #[serde(skip_serializing_if = "Option::is_none")]
    loses: Option<&'static str>,
    passed_over: Vec<PassedOverReport>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum HookState {
    /// An agent has it attached.
    Attached,
    /// It was tried just now, and works.
    Works,
    /// The agent will try it first.
    Candidate,
    /// No mechanism serves it.
    Unserved,
}

#[derive(Debug, Serialize)]
struct PassedOverReport {
    mechanism: &'static str,
    why: String,
}

impl Report {
    /// Looks at this host as the agent would with this configuration.
    pub async fn make(config: &Config) -> Result<Self> {
        let running = pins::running(Path::new(pins::ROOT));
        let mut facts = facts();
        let interfaces = counted_interfaces(config).await;
        let may_try = !facts.iter().any(|fact| fact.vital && !fact.ok);
        let (hooks, kernel_memory_bytes) = match &running {
            Some(running) => attached(running, &interfaces),
            None if may_try => tried(config, &interfaces, &mut facts),
            None => (Vec::new(), None),
        };
        Ok(Self {
            schema: "ghostport.doctor/1",
            verdict: verdict(&facts, &hooks),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            lockdown: lockdown(),
            agent: AgentState {
                running: running.is_some(),
                pid: running.and_then(|running| running.pid),
            },
            facts,
            hooks,
            kernel_memory_bytes,
            watched_ports: config.ports.len(),
            quiet_series_omitted: config.ports.len() > crate::metrics::MAX_PREINITIALISED_PORTS,
        })
    }

    /// How well the agent can work.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// As a page for a terminal of 80 columns.
    pub fn to_text(&self) -> String {
        let mut page = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_text(&mut page);
        page
    }

    fn write_text(&self, page: &mut String) -> std::fmt::Result {
        let verdict = match self.verdict {
            Verdict::Full => "full: everything is seen",
            Verdict::Degraded => "degraded: see what is lost below",
            Verdict::Broken => "broken: the agent cannot work here",
        };
        writeln!(page, "ghostport doctor: {verdict}\n")?;
        writeln!(page, "kernel    {}", self.kernel)?;
        if let Some(lockdown) = &self.lockdown {
            writeln!(page, "lockdown  {lockdown}")?;
        }
        let agent = match (self.agent.running, self.agent.pid) {
            (true, Some(pid)) => format!("running (pid {pid})"),
            (true, None) => "running".to_owned(),
            _ if self.hooks.is_empty() => "not running".to_owned(),
            _ => "not running; what follows was tried just now".to_owned(),
        };
        writeln!(page, "agent     {agent}")?;
        write!(page, "ports     {} watched", self.watched_ports)?;
        if self.quiet_series_omitted {
            write!(page, "; series of ports that never saw anything are left out")?;
        }
        writeln!(page)?;
        if let Some(bytes) = self.kernel_memory_bytes {
            writeln!(page, "memory    {} KiB of kernel memory in maps", bytes.div_ceil(1024))?;
        }
        writeln!(page)?;
        for fact in &self.facts {
            fact.write_text(page)?;
        }
        writeln!(page)?;
        for hook in &self.hooks {
            hook.write_text(page)?;
        }
        Ok(())
    }
}

impl Fact {
    fn write_text(&self, page: &mut String) -> std::fmt::Result {
        writeln!(page, "{} {}", if self.ok { "✓" } else { "✗" }, self.name)?;
        if self.ok {
            return Ok(());
        }
        if let Some(costs) = &self.costs {
            writeln!(page, "    costs: {costs}")?;
        }
        if let Some(remedy) = &self.remedy {
            writeln!(page, "    do:    {remedy}")?;
        }
        Ok(())
    }
}

impl HookReport {
    fn new(status: &HookStatus, state: HookState) -> Self {
        let state = if status.attached.is_some() { state } else { HookState::Unserved };
        Self {
            hook: status.hook.name(),
            interface: status.interface.clone(),
            mechanism: status.attached.map(HookMechanism::name),
            state,
            loses: status.attached.and_then(|mechanism| mechanism.loses(status.hook)),
            passed_over: status
                .passed_over
                .iter()
                .map(|p| PassedOverReport { mechanism: p.mechanism.name(), why: p.why.clone() })
                .collect(),
        }
    }

    fn write_text(&self, page: &mut String) -> std::fmt::Result {
        let interface = self.interface.as_deref().unwrap_or("");
        let state = match self.state {
            HookState::Attached => "attached",
            HookState::Works => "works",
            HookState::Candidate => "tried first when the agent starts",
            HookState::Unserved => "not served",
        };
        let mechanism = self.mechanism.unwrap_or("-");
        writeln!(page, "{:<8} {interface:<15} {mechanism:<12} {state}", self.hook)?;
        if let Some(loses) = self.loses {
            writeln!(page, "    not seen: {loses}")?;
        }
        for passed in &self.passed_over {
            writeln!(page, "    not {}: {}", passed.mechanism, passed.why)?;
        }
        Ok(())
    }
}

fn verdict(facts: &[Fact], hooks: &[HookReport]) -> Verdict {
    let unserved = |hook: &HookReport| hook.state == HookState::Unserved;
    if facts.iter().any(|fact| fact.vital && !fact.ok) || hooks.iter().all(unserved) {
        Verdict::Broken
    } else if facts.iter().any(|fact| !fact.ok)
        || hooks.iter().any(|hook| unserved(hook) || hook.loses.is_some())
    {
        Verdict::Degraded
    } else {
        Verdict::Full
    }
}

/// Everything that can be told without touching a hook.
fn facts() -> Vec<Fact> {
    let missing = capabilities::missing();
    let mut facts: Vec<Fact> = CAPABILITIES
        .iter()
        .map(|capability| Fact {
            name: format!("{} to {}", capability.name, capability.purpose),
            ok: !missing.contains(capability),
            costs: Some(if capability.required {
                "the agent cannot start".to_owned()
            } else {
                format!("it cannot {}", capability.purpose)
            }),
            // One remedy serves them all.
            remedy: (missing.first() == Some(capability)).then(capabilities::remedy),
            vital: capability.required,
        })
        .collect();
    facts.push(mount(
        "BPF filesystem at /sys/fs/bpf",
        pins::is_bpf_filesystem(Path::new("/sys/fs/bpf")),
        "counters and hooks end with the agent, also when it is killed",
        "mount -t bpf bpf /sys/fs/bpf",
    ));
    facts.push(mount(
        "tracefs at /sys/kernel/tracing",
        kernel::tracefs::is_mounted(),
        "nothing for root, who reads it through a private mount; others see no refused bind",
        "mount -t tracefs tracefs /sys/kernel/tracing",
    ));
    facts.push(mount(
        "unified cgroup hierarchy",
        attach::cgroup_root().is_some(),
        "the cgroup hooks cannot be used",
        "mount -t cgroup2 none /sys/fs/cgroup/unified",
    ));
    let missing_offsets = kernel::KernelOffsets::of_running_kernel().missing;
    facts.push(Fact {
        name: "kernel type information (BTF)".to_owned(),
        ok: missing_offsets.is_empty(),
        costs: Some(format!("unknown: {}", missing_offsets.join(", "))),
        remedy: Some("use a kernel built with CONFIG_DEBUG_INFO_BTF".to_owned()),
        vital: false,
    });
    facts
}

fn mount(name: &str, ok: bool, costs: &str, remedy: &str) -> Fact {
    Fact {
        name: name.to_owned(),
        ok,
        costs: Some(costs.to_owned()),
        remedy: Some(remedy.to_owned()),
        vital: false,
    }
}

/// Interfaces that the configuration wants counted; none where netlink cannot be asked.
async fn counted_interfaces(config: &Config) -> Vec<Interface> {
    let Ok(netlink) = Interfaces::connect() else {
        return Vec::new();
    };
    let interfaces = netlink.list().await.unwrap_or_default();
    interfaces.into_values().filter(|i| config.interfaces.counts(&i.name)).collect()
}

/// The hooks of a running agent, as its pins tell them.
fn attached(running: &Running, interfaces: &[Interface]) -> (Vec<HookReport>, Option<u64>) {
    let hooks = running.hooks(interfaces);
    let memory = running.pid.and_then(|pid| memory::of_maps(pid as u32).ok());
    (hooks.iter().map(|status| HookReport::new(status, HookState::Attached)).collect(), memory)
}

/// The hooks as they turn out when they are tried.
fn tried(
    config: &Config,
    interfaces: &[Interface],
    facts: &mut Vec<Fact>,
) -> (Vec<HookReport>, Option<u64>) {
    let trial = trial::run(|| {
        let (mut kernel, _streams) = Kernel::start_unpinned(Options::TRIAL)?;
        kernel.watch(&config.ports.iter().copied().collect())?;
        let sockets = kernel.attach_sockets(config.bind_mechanism);
        let loopback = kernel.attach_loopback(config.interfaces.mode)?;
        kernel.make_room_for(interfaces)?;
        Ok((sockets, loopback, memory::of_maps(std::process::id()).ok()))
    });
    let (sockets, loopback, memory) = match trial {
        Ok(tried) => tried,
        Err(error) => {
            facts.push(Fact {
                name: "programs load".to_owned(),
                ok: false,
                costs: Some(format!("{error:#}")),
                remedy: None,
                vital: true,
            });
            return (Vec::new(), None);
        }
    };
    let mut hooks = Vec::new();
    for interface in interfaces {
        hooks.extend(loopback.iter().map(|status| expected(status, interface)));
    }
    hooks.extend(sockets.iter().map(|status| HookReport::new(status, HookState::Works)));
    (hooks, memory)
}

/// What the trial on a loopback interface says of another one: native XDP is up to its driver.
fn expected(status: &HookStatus, interface: &Interface) -> HookReport {
    let mut report = HookReport::new(status, HookState::Works);
    report.interface = Some(interface.name.clone());
    let native = HookMechanism::XdpNative.name();
    let asks_driver = status.hook == Hook::Ingress
        && interface.name != "lo"
        && report.passed_over.iter().any(|passed| passed.mechanism == native);
    if asks_driver {
        report.passed_over.retain(|passed| passed.mechanism != native);
        report.mechanism = Some(native);
        report.state = HookState::Candidate;
        report.loses = None;
    }
    report
}

/// The lockdown mode in force, `/sys/kernel/security/lockdown`.
fn lockdown() -> Option<String> {
    let modes = fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    let start = modes.find('[')? + 1;
    Some(modes[start..].split(']').next()?.to_owned())
}
