//! The life of the agent, from its options to its end.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use monitor_kernel::{hooks::HookStatus, memory};
use rustix::{
    fs::Mode,
    process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask},
};
use tokio::sync::{mpsc, watch};

use super::{
    answers::{self, Answers},
    attachment::log_hook,
    capture_looks,
    lock::lock,
    options::Options,
    own_user::become_own_user,
    selftest::SelftestRunner,
    service_manager::ServiceManager,
    shutdown::FLUSH_LIMIT,
    signals::Signals,
    socket_scanner::{self, SocketScanner},
    start::{self, Prepared, Started, Threads},
    state::Agent,
};
use crate::{
    api, config::Config, event::Event, metrics::AgentStatus, process::ProcessEnricher, web,
};

/// What files that the agent creates do not grant: anything to other users, writing to the group.
const OTHERS: Mode = Mode::RWXO.union(Mode::WGRP);

/// Runs the agent until a signal ends it.
pub async fn run(options: Options) -> Result<()> {
    let Options { config_path, overrides, keep_attached, log_level, build } = options;
    // Whatever is created is for this user and group.
    let inherited = umask(OTHERS);
    umask(inherited | OTHERS);
    keep_memory_private();
    // A signal that arrives during the start is obeyed after it.
    let mut signals = Signals::install()?;
    let config = Config::load(config_path.as_deref(), &overrides)?;
    become_own_user(&config);
    start::require_capabilities()?;
    let started = Prepared::open(&config, log_level).await?.start(&config)?;
    let Started {
        kernel,
        interfaces,
        mut addresses,
        streams,
        sockets,
        threads: Threads { pipeline, sinks, store, selftests, host_files, inspector },
        context,
        server,
    } = started;
    let (config, config_now) = watch::channel(Arc::new(config));
    let scanner = Arc::new(SocketScanner::new(
        ProcessEnricher::new(config.borrow().command_line)
            .knowing(host_files)
            .inspecting(inspector),
        answers::open_sockets(&kernel),
        answers::own_xdp(&kernel),
        selftests.clone(),
    ));
    let status = Arc::new(Mutex::new(AgentStatus::new(build.clone(), Timestamp::now())));
    let mut agent = Agent {
        kernel,
        pipeline,
        config,
        config_path,
        overrides,
        interfaces,
        sinks,
        store,
        security: server.security.map(Arc::new),
        status,
        unmatched_patterns: Vec::new(),
        context,
        ready: Arc::new(AtomicBool::new(false)),
        hooks_lost: Arc::default(),
        has_stalled: false,
        manager: ServiceManager::of_this_process(),
        noticed: Arc::default(),
    };
    let listen: Vec<SocketAddr> =
        server.listeners.iter().filter_map(web::Listener::address).collect();
    let answers = Answers {
        kernel: Arc::clone(&agent.kernel),
        pipeline: agent.pipeline.clone(),
        scanner: Arc::clone(&scanner),
        status: Arc::clone(&agent.status),
        config: config_now.clone(),
        host: agent.context.host_name.clone(),
        started: Timestamp::now(),
        sinks: agent.sinks.clone(),
        store: agent.store.clone(),
        selftests: SelftestRunner {
            kernel: Arc::clone(&agent.kernel),
            pipeline: agent.pipeline.clone(),
            selftests,
            context: agent.context.clone(),
        },
    };
    let routes = agent.web_state(answers);
    let server = match web::Server::start(server.listeners, routes) {
        Ok(server) => server,
        Err(error) => {
            agent.abandon_start().await;
            return Err(error).context("cannot start the web server");
        }
    };
    // Binds during the first scan are seen by the hooks, which are attached already.
    let (scanned, scans) = mpsc::channel(1);
    let scanning = tokio::spawn(socket_scanner::run(
        Arc::clone(&scanner),
        agent.pipeline.clone(),
        config_now.clone(),
        scanned,
    ));
    let looking = tokio::spawn(capture_looks::run(
        Arc::clone(&agent.noticed),
        Arc::clone(&scanner),
        agent.pipeline.clone(),
        config_now,
    ));
    sockets.iter().for_each(log_hook);
    addresses.update(&agent.kernel, &scanner, &agent.status).await;
    let following = tokio::spawn(addresses.follow(
        Arc::clone(&agent.kernel),
        scanner,
        Arc::clone(&agent.status),
    ));
    let hooks = match agent.attach(&listen).await {
        Ok(hooks) => hooks,
        Err(error) => {
            agent.abandon_start().await;
            return Err(error);
        }
    };
    let started = Event::agent_started(Timestamp::now(), build.version, &hooks, &agent.context);
    agent.pipeline.emit(started);
    let stop = match agent.run_loop(streams, scans, &mut signals).await {
        Ok(stop) => stop,
        Err(error) => {
            // The hooks go on counting, and the next agent adopts them.
            agent.close_queues().await;
            return Err(error);
        }
    };
    scanning.abort();
    looking.abort();
    following.abort();
    let stopped = agent.stop(stop.reason, keep_attached || stop.hands_over).await;
    server.stop(FLUSH_LIMIT).await;
    stopped
}

/// Command lines, payloads, keys and passwords are in the agent's memory: it is neither written to a
/// core file nor readable for other processes of its user.
fn keep_memory_private() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let limited = setrlimit(Resource::Core, none);
    let private = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Err(error) = limited.and(private) {
        tracing::warn!(%error, "a crash may write the agent's memory to a file");
    }
}

impl Agent {
    /// What the web server answers from.
    fn web_state(&self, answers: Answers) -> web::State {
        let pipeline = self.pipeline.clone();
        web::State {
            exposition: answers::exposition(&answers),
            ready: Arc::clone(&self.ready),
            hooks_lost: Arc::clone(&self.hooks_lost),
            stalled: Arc::new(move || pipeline.stalled_for()),
            security: self.security.clone(),
            source: Arc::new(answers),
        }
    }

    /// Attaches the traffic hooks; the others are attached by now. Returns the outcome of all.
    async fn attach(&mut self, listen: &[SocketAddr]) -> Result<Vec<HookStatus>> {
        self.reconcile().await?;
        let hooks = lock(&self.kernel).snapshot()?.hooks;
        if hooks.iter().all(|hook| hook.attached.is_none()) {
            bail!("no hook could be attached: `ghostport doctor` says why");
        }
        memory::release();
        self.ready.store(true, Ordering::Relaxed);
        self.manager.ready();
        tracing::info!(ports = self.config().ports.len(), ?listen, "ready");
        if let Some(address) = listen.first() {
            let page = page_url(*address, self.config().web_config_file.is_some());
            tracing::info!(%page, socket = api::SOCKET, "the live page, and the socket of top and check");
        }
        Ok(hooks)
    }
}

/// Where a browser of this host finds the live page.
fn page_url(listen: SocketAddr, has_web_file: bool) -> String {
    let scheme = if has_web_file { "https" } else { "http" };
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    format!("{scheme}://{}/", SocketAddr::new(ip, listen.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_at_an_address_that_a_browser_can_open() {
        let url = |listen: &str, has_web_file| {
            page_url(listen.parse().expect("an address"), has_web_file)
        };
        assert_eq!(url("127.0.0.1:10948", false), "http://127.0.0.1:10948/");
        assert_eq!(url("0.0.0.0:10948", true), "https://127.0.0.1:10948/");
        assert_eq!(url("[::]:10948", false), "http://[::1]:10948/");
        assert_eq!(url("192.0.2.1:80", false), "http://192.0.2.1:80/");
    }
}
