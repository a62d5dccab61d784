//! The agent of this host, as far as this user may see it.

use std::{fs, io, path::Path};

use monitor_kernel::{
    capabilities::{self, CAPABILITIES},
    hooks::HookStatus,
    interfaces::Interface,
    pins, record,
    running::{self, Running},
};
use rustix::process::geteuid;
use serde::Serialize;

use crate::{
    api::{client, hook::Hooks},
    process::proc_dir::ProcessDir,
    sockets::HiddenProcesses,
};

/// What is known of the agent.
#[derive(Debug, Serialize)]
pub(super) struct Agent {
    /// Whether one runs; absent where this user cannot know.
    #[serde(rename = "running", skip_serializing_if = "Option::is_none")]
    pub(super) is_running: Option<bool>,
    /// Its process, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<i32>,
    /// What it has left where this user may read it.
    #[serde(skip)]
    pub(super) traces: Option<Running>,
    /// Its hooks by its API, where it left nothing that may be read.
    #[serde(skip)]
    hooks: Option<Vec<HookStatus>>,
    /// Why it could not read this host's addresses, by its API.
    #[serde(skip)]
    pub(super) addresses_error: Option<String>,
}

impl Agent {
    /// Looks for it: by its record and its pins, by its API, and in the list of processes.
    pub(super) async fn find() -> Self {
        let mut agent = Self {
            is_running: Some(true),
            pid: None,
            traces: None,
            hooks: None,
            addresses_error: None,
        };
        let answer = client::ask::<Hooks>("/api/v1/hooks").await.ok().flatten();
        agent.addresses_error = answer.as_ref().and_then(|answer| answer.addresses_error.clone());
        if let Some(running) = running::running(Path::new(pins::ROOT)) {
            agent.pid = running.pid;
            agent.traces = Some(running);
            if agent.traces.as_ref().is_some_and(Running::has_hooks) {
                return agent;
            }
        } else if are_traces_visible() {
            agent.is_running = Some(false);
            return agent;
        }
        agent.hooks = answer.map(|answer| answer.hooks);
        agent.pid = agent.pid.or_else(process);
        if agent.traces.is_none() && agent.hooks.is_none() && agent.pid.is_none() {
            let is_process_visible = HiddenProcesses::here().is_none();
            agent.is_running = is_process_visible.then_some(false);
        }
        agent
    }

    /// Its hooks; `None` if this user may not see them.
    pub(super) fn hooks(&self, interfaces: &[Interface]) -> Option<Vec<HookStatus>> {
        let traces = self.traces.as_ref().filter(|traces| traces.has_hooks());
        traces.map(|traces| traces.hooks(interfaces)).or_else(|| self.hooks.clone())
    }
}

/// Whether an agent could not run without this user seeing its record or its pins.
fn are_traces_visible() -> bool {
    let is_denied = |found: io::Result<fs::Metadata>| {
        found.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    let is_folder_closed = fs::read_dir(pins::ROOT)
        .is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    !is_folder_closed && !is_denied(fs::metadata(record::FOLDER))
}

/// A process that runs this program as an agent. Every user may read names and arguments.
fn process() -> Option<i32> {
    let own = fs::read("/proc/self/comm").ok()?;
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.find(|pid| {
        let has_own_name = fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name == own);
        has_own_name && is_agent(*pid)
    })
}

/// Whether a process that has this program's name was started as an agent.
fn is_agent(pid: i32) -> bool {
    let process = ProcessDir::open(pid.cast_unsigned());
    let line = process.and_then(|process| process.command_line()).ok().flatten();
    line.is_some_and(|line| line.arguments.iter().skip(1).any(|argument| argument == "run"))
}

/// Whether this is a user without any of the agent's capabilities, whose own privileges say nothing
/// of what an agent can do here.
pub(super) fn is_ordinary_user() -> bool {
    !geteuid().is_root() && capabilities::missing().len() == CAPABILITIES.len()
}
