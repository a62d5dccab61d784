//! The agent: wires the kernel side, the sinks and the web server together, and owns shutdown.

mod answers;
mod bounded_wait;
mod clock;
mod options;
pub mod pipeline;
mod service_manager;
mod signals;
mod socket_scanner;
mod start;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
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

pub use self::options::Options;
use self::{
    answers::Answers,
    start::{Prepared, Started},
};
use crate::{
    agent::pipeline::Pipeline,
    agent::service_manager::ServiceManager,
    agent::signals::{Order, Signals, Stop},
    agent::socket_scanner::{Findings, Lookout},
    config::{Config, Overrides},
    event::{Event, EventContext},
    metrics::AgentStatus,
    sinks::EventQueue,
    store::StoreQueue,
    terminal::message::message,
    web,
};
use monitor_kernel::{
    Kernel, Streams,
    hooks::HookStatus,
    interfaces::{Interface, Interfaces},
    memory,
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
    /// Patterns of `interfaces.include` that matched no interface when it was last looked.
    unmatched_patterns: Vec<String>,
    context: EventContext,
    ready: Arc<AtomicBool>,
    /// Where the web server listens.
    listen: Vec<SocketAddr>,
    manager: ServiceManager,
}

/// Runs the agent until it is told to stop.
pub async fn run(options: Options) -> Result<()> {
    let Options { config_path, overrides, keep_attached, log_level, build } = options;
    // One that comes while the agent starts is obeyed when it has started.
    let mut signals = Signals::install()?;
    let config = Config::load(config_path.as_deref(), &overrides)?;
    start::require_capabilities()?;
    let prepared = Prepared::open(&config, log_level).await?;
    let Started { kernel, streams, sockets, pipeline, queue, store, context, door } =
        prepared.start(&config)?;
    let (config_sender, config_now) = watch::channel(Arc::new(config.clone()));
    let lookout = Arc::new(Lookout::new(config.command_line, answers::open_sockets(&kernel)));
    let status = Arc::new(Mutex::new(AgentStatus::new(build.clone(), Timestamp::now())));
    let ready = Arc::new(AtomicBool::new(false));
    let (stop_web, web_stopped) = watch::channel(());
    let listen = door.listeners.iter().filter_map(web::Listener::address).collect();
    let server = tokio::spawn(web::serve(
        door.listeners,
        web::State {
            exposition: answers::exposition(
                Arc::clone(&kernel),
                Arc::clone(&status),
                queue.clone(),
                store.clone(),
                pipeline.clone(),
            ),
            ready: Arc::clone(&ready),
            security: door.security.map(Arc::new),
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
        path: config_path,
        overrides,
        interfaces: Interfaces::connect().context("cannot ask netlink for the interfaces")?,
        queue,
        store,
        status,
        unmatched_patterns: Vec::new(),
        context,
        ready,
        listen,
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
    agent.stop(stop.reason, keep_attached || stop.hands_over).await?;
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
            listen = ?self.listen,
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
                Some((at, sockets)) = looks.recv() => {
                    // What was called while it looked is told before what it found.
                    streams.events.drain(|record, command| pipeline.call(record, command));
                    pipeline.hold(at, sockets);
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
        let at = clock::now();
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
        self.note_unmatched_patterns(&interfaces);
        let selection = &self.config.interfaces;
        let is_wanted = |interface: &Interface| selection.counts(&interface.name);
        let wanted = interfaces.iter().filter(|(_, interface)| is_wanted(interface));
        let wanted = wanted.map(|(index, interface)| (*index, interface.clone())).collect();
        let mode = selection.mode;
        let kernel = Arc::clone(&self.kernel);
        let changes = spawn_blocking(move || lock(&kernel).reconcile(&wanted, &interfaces, mode));
        for change in changes.await? {
            self.tell(&change);
        }
        self.sweep_qdiscs().await
    }

    /// A pattern that matches nothing may be a misspelling, or an interface that is yet to come.
    fn note_unmatched_patterns(&mut self, interfaces: &BTreeMap<u32, Interface>) {
        let names: Vec<String> = interfaces.values().map(|i| i.name.clone()).collect();
        let unmatched = self.config.interfaces.unmatched(&names).map(ToString::to_string);
        let unmatched: Vec<String> = unmatched.collect();
        for pattern in unmatched.iter().filter(|pattern| !self.unmatched_patterns.contains(pattern))
        {
            tracing::warn!(pattern, "no interface matches this pattern of interfaces.include");
        }
        lock(&self.status).unmatched_interface_patterns = unmatched.len();
        self.unmatched_patterns = unmatched;
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
            tracing::error!("the old configuration stays in force: {}", message(error));
        }
        lock(&self.status).reloaded(result.is_ok(), Timestamp::now());
        self.manager.ready();
        Ok(())
    }

    async fn apply(&mut self) -> Result<()> {
        let mut config = Config::load(self.path.as_deref(), &self.overrides)?;
        for key in config.keep_until_restart(&self.config) {
            tracing::warn!("{key} has changed: it takes effect at the next start");
        }
        self.warn_of_mode(&config);
        if config.sinks != self.config.sinks {
            let (queue, sinks) = (self.queue.clone(), config.sinks.clone());
            spawn_blocking(move || queue.replace(&sinks)).await??;
        }
        let ports: BTreeSet<u16> = config.port_numbers().collect();
        let kernel = Arc::clone(&self.kernel);
        spawn_blocking(move || lock(&kernel).watch(&ports)).await??;
        self.pipeline.watch(config.ports.clone(), config.payload.keep, clock::now()).await;
        if !self.store.limit(&config.store, ORDER_LIMIT).await {
            tracing::warn!(
                "the store does not answer: store.retain and max_size stay as they were"
            );
        }
        self.config = config;
        self.config_sender.send_replace(Arc::new(self.config.clone()));
        self.reconcile().await?;
        tracing::info!(ports = self.config.ports.len(), "configuration reloaded");
        Ok(())
    }

    /// Warns if interfaces keep a mechanism that the new mode would not choose.
    fn warn_of_mode(&self, config: &Config) {
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

/// A poisoned lock guards counters that are as good as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
