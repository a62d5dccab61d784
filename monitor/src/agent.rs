//! The agent: wires the kernel side, the sinks and the web server together, and owns shutdown.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::Instant,
};

use crate::{
    cli::{LogLevel, RunArgs},
    clock,
    config::{Config, Overrides, StoreConfig, WatchedPort, WebDetails},
    event::{Event, EventContext},
    followers::Follower,
    kernel::{
        Kernel, KernelLogLevel, Options, Streams, capabilities, hooks::HookStatus,
        interfaces::Interfaces, memory,
    },
    ledger::{Ledger, PortFacts, PortState, Start},
    lookout::{self, Findings, Lookout},
    metrics::{
        self, AgentStatus, BuildInfo, Exposition, IdentifiedCounts, LedgerFacts, ProcessFacts,
    },
    pipeline::{Parts, Pipeline, SharedLedger},
    port_view::PortView,
    selftest,
    service_manager::ServiceManager,
    signals::{Order, Signals, Stop},
    sinks::{self, EventLosses, EventQueue, IsAwake},
    store::{Filter, KeptLedger, Reader, Store, StoreQueue},
    web::{
        self, Security,
        api::{Source, Talkers},
    },
};

/// Time that sinks get to write what is queued when the agent stops.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// Time that the store gets to take an order.
const ORDER_LIMIT: Duration = Duration::from_secs(5);

/// Changes of interfaces come in flocks; one look serves them all.
const SETTLE: Duration = Duration::from_millis(50);

/// How often the counters are read for the ledger: what a packet does to its port is known by then.
const READING_PERIOD: Duration = Duration::from_secs(1);

/// With tens of thousands of ports a reading takes longer, and this many times that long passes
/// before the next; but no longer than the ledger bears.
const READING_PAUSE_FACTOR: u32 = 50;
const LONGEST_READING_PERIOD: Duration = Duration::from_secs(20);

/// An agent at work.
struct Agent {
    kernel: Arc<Mutex<Kernel>>,
    pipeline: Pipeline,
    /// For those who answer requests.
    config_sender: watch::Sender<Arc<Config>>,
    config: Config,
    path: Option<PathBuf>,
    overrides: Overrides,
    interfaces: Interfaces,
    queue: EventQueue,
    store: StoreQueue,
    status: Arc<Mutex<AgentStatus>>,
    context: EventContext,
    ready: Arc<AtomicBool>,
    manager: ServiceManager,
}

/// Runs the agent until it is told to stop.
pub async fn run(args: &RunArgs, build: BuildInfo) -> Result<()> {
    let overrides = args.overrides();
    let config = Config::load(args.config.path.as_deref(), &overrides)?;
    require_capabilities()?;
    let mut signals = Signals::install()?;
    let sinks = capabilities::as_later(|| sinks::open(&config.sinks))??;
    let mut store = capabilities::as_later(|| Store::open(&config.store))?;
    let (mut kernel, streams) = Kernel::start(Options {
        command_lines: config.command_line,
        ports: config.ports.len(),
        log_level: kernel_log_level(args.log_level),
    })?;
    let web_file = config.web_config_file.as_deref();
    let security = capabilities::as_later(|| web_file.map(Security::load).transpose())??;
    let mut listeners = web::bind(&config.web_listen).await?;
    match web::Listener::on_socket(Path::new(web::SOCKET)) {
        Ok(listener) => listeners.push(listener),
        Err(error) => tracing::warn!(
            %error, socket = web::SOCKET, "the commands of this host cannot ask this agent"
        ),
    }
    let (config_sender, config_now) = watch::channel(Arc::new(config.clone()));
    let sockets = attach_sockets(&mut kernel, &config)?;
    // Up to here this is the only thread, and from here on there is nothing that takes more.
    let ledger = Arc::new(Mutex::new(ledger(&kernel, &config, store.ledger())));
    let is_awake = is_awake(Arc::clone(&ledger));
    let start = || Ok((EventQueue::start(sinks, is_awake)?, StoreQueue::start(store)?));
    let (queue, store) = match give_up_privileges().and_then(|()| start()) {
        Ok(queues) => queues,
        Err(error) => {
            kernel.detach_hooks(&BTreeMap::new())?;
            return Err(error);
        }
    };
    let context = event_context();
    let pipeline = Pipeline::start(Parts {
        ledger,
        ports: config.ports.clone(),
        keep: config.payload.keep,
        command_lines: config.command_line,
        context: context.clone(),
        queue: queue.clone(),
        store: store.clone(),
    })?;
    let kernel = Arc::new(Mutex::new(kernel));
    let lookout = Arc::new(Lookout::new(config.command_line, open_sockets(&kernel)));
    let status = Arc::new(Mutex::new(AgentStatus::new(build.clone(), Timestamp::now())));
    let ready = Arc::new(AtomicBool::new(false));
    let (stop_web, web_stopped) = watch::channel(());
    let server = tokio::spawn(web::serve(
        listeners,
        web::State {
            exposition: exposition(
                Arc::clone(&kernel),
                Arc::clone(&status),
                queue.clone(),
                store.clone(),
                pipeline.clone(),
            ),
            ready: Arc::clone(&ready),
            security: security.map(Arc::new),
            source: Arc::new(Answers {
                kernel: Arc::clone(&kernel),
                pipeline: pipeline.clone(),
                lookout: Arc::clone(&lookout),
                config: config_now.clone(),
            }),
        },
        web_stopped,
    ));
    let mut agent = Agent {
        kernel,
        pipeline,
        config_sender,
        config,
        path: args.config.path.clone(),
        overrides,
        interfaces: Interfaces::connect().context("cannot ask netlink for the interfaces")?,
        queue,
        store,
        status,
        context,
        ready,
        manager: ServiceManager::of_this_process(),
    };
    // The binds that come while it looks are told by events: the hooks are attached.
    let (findings, looks) = mpsc::channel(1);
    let looking = lookout.keep_looking(agent.pipeline.clone(), config_now, findings);
    let looking = tokio::spawn(looking);
    sockets.iter().for_each(|status| agent.tell(status));
    agent.attach().await?;
    agent.pipeline.tell(Event::agent_started(Timestamp::now(), build.version, &agent.context));
    let stop = agent.work(streams, looks, &mut signals).await?;
    looking.abort();
    agent.stop(stop.reason, args.keep_attached || stop.hands_over).await?;
    drop(stop_web);
    let _ = tokio::time::timeout(FLUSH_LIMIT, server).await;
    Ok(())
}

impl Agent {
    /// The traffic hooks of the interfaces that there are; the others are attached by now.
    async fn attach(&mut self) -> Result<()> {
        self.reconcile().await?;
        let hooks = lock(&self.kernel).snapshot()?.hooks;
        if hooks.iter().all(|hook| hook.attached.is_none()) {
            bail!("no hook could be attached: `ghostport doctor` says why");
        }
        memory::release();
        self.ready.store(true, Ordering::Relaxed);
        self.manager.ready();
        tracing::info!(
            ports = self.config.ports.len(),
            listen = ?self.config.web_listen,
            "ready"
        );
        Ok(())
    }

    /// Everything that happens between start and stop. Returns why it ended.
    async fn work(
        &mut self,
        mut streams: Streams,
        mut looks: mpsc::Receiver<Findings>,
        signals: &mut Signals,
    ) -> Result<Stop> {
        let pipeline = self.pipeline.clone();
        let mut next_reading = Instant::now();
        loop {
            tokio::select! {
                read = streams.events.read(|record, command| pipeline.call(record, command)) => {
                    read.context("the event ring cannot be read")?;
                }
                read = streams.samples.read(|sample| pipeline.sample(sample)) => {
                    read.context("the sample ring cannot be read")?;
                }
                () = tokio::time::sleep_until(next_reading) => {
                    next_reading = self.read_counters(&mut streams).await?;
                }
                Some((at, held)) = looks.recv() => {
                    // What was called while it looked is told before what it found.
                    streams.events.drain(|record, command| pipeline.call(record, command));
                    pipeline.hold(at, held);
                }
                forwarded = streams.log.forward() => forwarded?,
                changed = self.interfaces.changed() => {
                    changed.context("netlink has closed the connection")?;
                    tokio::time::sleep(SETTLE).await;
                    self.reconcile().await?;
                }
                order = signals.next() => match order {
                    Order::Reload => self.reload().await?,
                    Order::Stop(stop) => {
                        self.read_counters(&mut streams).await?;
                        return Ok(stop);
                    }
                },
                () = self.manager.heartbeat() => {}
            }
        }
    }

    /// Tells the ledger what was counted, after every call that the counters may count. Returns when
    /// to do so again.
    async fn read_counters(&self, streams: &mut Streams) -> Result<Instant> {
        let began = Instant::now();
        let at = clock::moment();
        let kernel = Arc::clone(&self.kernel);
        let captures = self.config.payload.capture;
        let counters = spawn_blocking(move || {
            let mut kernel = lock(&kernel);
            if let Err(error) = kernel.renew_sampling(captures) {
                tracing::warn!("payloads are not sampled now: {error:#}");
            }
            kernel.port_counters()
        });
        let counters = counters.await?;
        streams.events.drain(|record, command| self.pipeline.call(record, command));
        self.pipeline.read(at, counters);
        let pause = began.elapsed() * READING_PAUSE_FACTOR;
        Ok(began + pause.clamp(READING_PERIOD, LONGEST_READING_PERIOD))
    }

    /// Brings the hooks in line with the interfaces there are now.
    async fn reconcile(&mut self) -> Result<()> {
        let interfaces = self.interfaces.list().await.context("cannot list the interfaces")?;
        let config = self.config.clone();
        let kernel = Arc::clone(&self.kernel);
        let changes = spawn_blocking(move || lock(&kernel).reconcile(&config, &interfaces));
        for change in changes.await? {
            self.tell(&change);
        }
        self.sweep_qdiscs().await
    }

    async fn sweep_qdiscs(&self) -> Result<()> {
        let idle = lock(&self.kernel).idle_qdiscs();
        for ifindex in idle {
            self.interfaces.remove_empty_clsact(ifindex).await;
            lock(&self.kernel).forget_qdisc(ifindex)?;
        }
        Ok(())
    }

    /// Tells what became of a hook, in the log and as an event.
    fn tell(&self, status: &HookStatus) {
        let interface = status.interface.as_deref();
        let passed_over: Vec<String> =
            status.passed_over.iter().map(|p| format!("{}: {}", p.mechanism, p.why)).collect();
        let passed_over = passed_over.join("; ");
        match status.attached {
            Some(mechanism) => tracing::info!(
                hook = %status.hook, interface, %mechanism, adopted = status.adopted, passed_over,
                "attached"
            ),
            None => tracing::warn!(hook = %status.hook, interface, passed_over, "not attached"),
        }
        self.pipeline.tell(Event::hook_changed(Timestamp::now(), status, &self.context));
    }

    /// Reads the configuration again. A bad one leaves the old one in force.
    async fn reload(&mut self) -> Result<()> {
        self.manager.reloading();
        self.queue.reopen();
        let result = self.apply().await;
        if let Err(error) = &result {
            tracing::error!("the old configuration stays in force: {error:#}");
        }
        lock(&self.status).reloaded(result.is_ok(), Timestamp::now());
        self.manager.ready();
        Ok(())
    }

    async fn apply(&mut self) -> Result<()> {
        let config = Config::load(self.path.as_deref(), &self.overrides)?;
        self.warn_of_restart(&config);
        if config.sinks != self.config.sinks {
            let (queue, sinks) = (self.queue.clone(), config.sinks.clone());
            spawn_blocking(move || queue.replace(&sinks)).await??;
        }
        let ports: BTreeSet<u16> = config.port_numbers().collect();
        let kernel = Arc::clone(&self.kernel);
        spawn_blocking(move || lock(&kernel).watch(&ports)).await??;
        self.pipeline.watch(config.ports.clone(), config.payload.keep, clock::moment()).await;
        if !self.store.limit(&config.store, ORDER_LIMIT).await {
            tracing::warn!(
                "the store does not answer: store.retain and max_size stay as they were"
            );
        }
        self.config = Config {
            bind_mechanism: self.config.bind_mechanism,
            command_line: self.config.command_line,
            web_listen: self.config.web_listen.clone(),
            web_config_file: self.config.web_config_file.clone(),
            store: StoreConfig { path: self.config.store.path.clone(), ..config.store },
            ..config
        };
        self.config_sender.send_replace(Arc::new(self.config.clone()));
        self.reconcile().await?;
        tracing::info!(ports = self.config.ports.len(), "configuration reloaded");
        Ok(())
    }

    /// What is fixed while the agent runs.
    fn warn_of_restart(&self, config: &Config) {
        let fixed = [
            ("web.listen", config.web_listen != self.config.web_listen),
            ("web.config_file", config.web_config_file != self.config.web_config_file),
            ("bind.mechanism", config.bind_mechanism != self.config.bind_mechanism),
            ("process.command_line", config.command_line != self.config.command_line),
            ("store.path", config.store.path != self.config.store.path),
        ];
        for (key, _) in fixed.iter().filter(|(_, changed)| *changed) {
            tracing::warn!("{key} has changed: it takes effect at the next start");
        }
        let mode = config.interfaces.mode;
        let keeps = |status: &HookStatus| status.outlives_change_to(mode);
        if mode != self.config.interfaces.mode && lock(&self.kernel).hooks().iter().any(keeps) {
            tracing::warn!(
                "interfaces.mode has changed: an interface that is served by another mechanism \
                 keeps it until the next start"
            );
        }
    }

    async fn stop(&mut self, reason: &str, keep_attached: bool) -> Result<()> {
        tracing::info!(reason, keep_attached, "stopping");
        self.manager.stopping();
        self.ready.store(false, Ordering::Relaxed);
        if !keep_attached {
            let interfaces = self.interfaces.list().await?;
            lock(&self.kernel).detach_hooks(&interfaces)?;
            self.sweep_qdiscs().await?;
        }
        self.pipeline.tell(Event::agent_stopped(Timestamp::now(), reason, &self.context));
        // One that hangs does not keep the others from writing what they have.
        let flushed = self.pipeline.flush(FLUSH_LIMIT).await;
        let (kept, written) =
            tokio::join!(self.store.close(FLUSH_LIMIT), self.queue.close(FLUSH_LIMIT));
        if !(flushed && kept && written) {
            tracing::warn!("some events could not be written in time");
        }
        Ok(())
    }
}

/// What the agent knows, for the API.
struct Answers {
    kernel: Arc<Mutex<Kernel>>,
    pipeline: Pipeline,
    lookout: Arc<Lookout>,
    config: watch::Receiver<Arc<Config>>,
}

impl Source for Answers {
    fn details(&self) -> WebDetails {
        self.config.borrow().web_details
    }

    fn ports(&self, only: Option<u16>) -> Result<Vec<PortView>> {
        let config = Arc::clone(&self.config.borrow());
        let wanted = config.ports.iter().filter(|port| only.is_none_or(|only| port.number == only));
        // Events wait for the ledger: it is let go before anything else is done.
        let ledger = self.pipeline.ledger();
        let known: Vec<(&WatchedPort, PortFacts)> =
            wanted.filter_map(|port| Some((port, ledger.facts(port.number)?))).collect();
        drop(ledger);
        let verdicts = |port| self.pipeline.tallies().of_port(port);
        let sockets = self.lookout.sockets();
        let view = |(port, facts): (&WatchedPort, PortFacts)| {
            let sockets = lookout::on_port(&sockets, port.number).to_vec();
            PortView::new(port, &facts, &verdicts(port.number), sockets)
        };
        Ok(known.into_iter().map(view).collect())
    }

    fn hooks(&self) -> Result<Vec<HookStatus>> {
        Ok(lock(&self.kernel).hooks())
    }

    fn talkers(&self) -> Result<Talkers> {
        let kernel = lock(&self.kernel);
        Ok(Talkers { sources: kernel.sources()?, talkers: kernel.talkers()? })
    }

    fn events(&self, filter: &Filter) -> Result<Vec<String>> {
        let mut events = Vec::new();
        Reader::open(&self.config.borrow().store.path)?.each(filter, |line| {
            events.push(line.to_owned());
            ControlFlow::Continue(())
        })?;
        Ok(events)
    }

    fn follow(&self) -> Follower {
        self.pipeline.follow()
    }
}

/// A poisoned lock guards counters that are as good as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The kernel side's word on who has sockets open, where it has one. What it reads from is opened
/// with the lock, and read without.
fn open_sockets(kernel: &Arc<Mutex<Kernel>>) -> Option<lookout::OpenSockets> {
    if let Some(why) = lock(kernel).holders_obstacle() {
        tracing::info!(why, "holders are searched in /proc");
        return None;
    }
    let kernel = Arc::clone(kernel);
    Some(Box::new(move || {
        let open = lock(&kernel).open_sockets()?;
        Ok(open.read()?)
    }))
}

/// The metrics, read from the kernel when they are asked for.
fn exposition(
    kernel: Arc<Mutex<Kernel>>,
    status: Arc<Mutex<AgentStatus>>,
    queue: EventQueue,
    store: StoreQueue,
    pipeline: Pipeline,
) -> Exposition {
    Arc::new(move || {
        let snapshot = lock(&kernel).snapshot()?;
        let ledger = LedgerFacts::new(&pipeline.ledger(), pipeline.differences());
        let mut status = lock(&status).clone();
        status.identified = IdentifiedCounts::new(&pipeline.tallies(), pipeline.lost_samples());
        let kept = store.losses();
        status.losses =
            EventLosses { queue: pipeline.lost() + kept.queue, sink: queue.lost() + kept.sink };
        status.selftest = selftest::Outcome::read(Path::new(selftest::FOLDER));
        // Where /proc cannot be read its series are absent.
        let process = ProcessFacts::read().ok();
        metrics::render(&snapshot, &ledger, &status, process.as_ref())
    })
}

/// The ledger as it was kept, or a new one.
fn ledger(kernel: &Kernel, config: &Config, kept: Option<KeptLedger>) -> Ledger {
    let at = clock::moment();
    let start = Start { at, boot_id: clock::boot_id(), counters: kernel.counter_life() };
    let restored = kept.and_then(|(saved, ports)| {
        Ledger::restore(&saved, ports, start.clone())
            .inspect_err(|error| tracing::error!(%error, "the ledger begins anew"))
            .ok()
    });
    let mut ledger = restored.unwrap_or_else(|| Ledger::new(start));
    ledger.watch(config.ports.iter().map(|port| (port.number, port.dormant_after)), at);
    ledger
}

/// Whether the ledger says that something goes on at a port.
fn is_awake(ledger: SharedLedger) -> IsAwake {
    Arc::new(move |port| {
        lock(&ledger).facts(port).is_some_and(|facts| facts.state != PortState::Quiet)
    })
}

/// Counters before hooks, so that no call finds nowhere to be counted.
fn attach_sockets(kernel: &mut Kernel, config: &Config) -> Result<Vec<HookStatus>> {
    kernel.watch(&config.port_numbers().collect())?;
    Ok(kernel.attach_sockets(config.bind_mechanism))
}

/// Says what is missing: as an error where nothing works without it.
fn require_capabilities() -> Result<()> {
    let missing = capabilities::missing();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|capability| capability.name).collect();
    let names = names.join(", ");
    let remedy = capabilities::remedy();
    if !capabilities::can_work_without(&missing) {
        bail!("missing {names}: {remedy}");
    }
    for capability in missing {
        tracing::warn!(costs = capability.costs, "missing {}", capability.name);
    }
    tracing::warn!("to have {names}: {remedy}");
    Ok(())
}

fn give_up_privileges() -> Result<()> {
    capabilities::give_up_the_rest().context("cannot give up capabilities that are not needed")
}

fn event_context() -> EventContext {
    let host = rustix::system::uname();
    EventContext { host_name: host.nodename().to_string_lossy().into_owned(), clock_offset_ns: 0 }
}

/// The kernel side tells as much as the agent's log shows.
const fn kernel_log_level(level: LogLevel) -> KernelLogLevel {
    match level {
        LogLevel::Error => KernelLogLevel::Off,
        LogLevel::Warn | LogLevel::Info => KernelLogLevel::Warn,
        LogLevel::Debug | LogLevel::Trace => KernelLogLevel::Debug,
    }
}
