//! How an agent comes to work, in the order that its privileges ask for: what needs them is opened by
//! the only thread there is, then they are given up, and then threads are started.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result, bail};

use super::{clock, lock};
use crate::{
    agent::pipeline::{Parts, Pipeline, SharedLedger},
    api,
    config::Config,
    event::EventContext,
    sinks::{self, EventQueue, IsAwake, Sink},
    store::{KeptLedger, Store, StoreQueue},
    terminal::logging::LogLevel,
    web::{self, Security},
};
use monitor_kernel::{
    Kernel, KernelLogLevel, Options, Streams, capabilities, clock::boot_id, hooks::HookStatus,
};
use monitor_ledger::{CounterEpoch, Ledger, PortState, Start, Watched};

/// What is opened before anything happens.
pub(super) struct Prepared {
    kernel: Kernel,
    streams: Streams,
    sinks: Vec<Sink>,
    store: Store,
    door: Door,
}

/// Where the web server listens, and what it asks of those who come.
pub(super) struct Door {
    pub(super) listeners: Vec<web::Listener>,
    pub(super) security: Option<Security>,
}

/// What runs by itself from now on.
pub(super) struct Started {
    pub(super) kernel: Arc<Mutex<Kernel>>,
    pub(super) streams: Streams,
    /// What became of the socket hooks.
    pub(super) sockets: Vec<HookStatus>,
    pub(super) pipeline: Pipeline,
    pub(super) queue: EventQueue,
    pub(super) store: StoreQueue,
    pub(super) context: EventContext,
    pub(super) door: Door,
}

impl Prepared {
    pub(super) async fn open(config: &Config, log_level: LogLevel) -> Result<Self> {
        let sinks = capabilities::as_later(|| sinks::open(&config.sinks))??;
        let store = capabilities::as_later(|| Store::open(&config.store))?;
        let (kernel, streams) = Kernel::start(Options {
            command_lines: config.command_line,
            ports: config.ports.len(),
            log_level: kernel_log_level(log_level),
        })?;
        let door = Door::open(config).await?;
        Ok(Self { kernel, streams, sinks, store, door })
    }

    /// Attaches the socket hooks and starts all threads.
    pub(super) fn start(self, config: &Config) -> Result<Started> {
        let Self { mut kernel, streams, sinks, mut store, door } = self;
        // Counters before hooks, so that no call finds nowhere to be counted.
        kernel.watch(&config.port_numbers().collect())?;
        let sockets = kernel.attach_sockets(config.bind_mechanism);
        // Up to here this is the only thread, and from here on there is nothing that takes more.
        let ledger = Arc::new(Mutex::new(ledger(&kernel, config, store.ledger())));
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
        Ok(Started { kernel, streams, sockets, pipeline, queue, store, context, door })
    }
}

impl Door {
    async fn open(config: &Config) -> Result<Self> {
        let web_file = config.web_config_file.as_deref();
        let security = capabilities::as_later(|| web_file.map(Security::load).transpose())??;
        let mut listeners = web::bind(&config.web_listen).await?;
        match web::Listener::on_socket(Path::new(api::SOCKET)) {
            Ok(listener) => listeners.push(listener),
            Err(error) => tracing::warn!(
                %error, socket = api::SOCKET, "the commands of this host cannot ask this agent"
            ),
        }
        Ok(Self { listeners, security })
    }
}

/// The ledger as it was kept, or a new one.
fn ledger(kernel: &Kernel, config: &Config, kept: Option<KeptLedger>) -> Ledger {
    let at = clock::now();
    let counters =
        CounterEpoch { id: kernel.counters_id().to_owned(), adopted: kernel.counters_adopted() };
    let start = Start { at, boot_id: boot_id(), counters };
    let restored = kept.and_then(|(saved, ports)| {
        Ledger::restore(&saved, ports, start.clone())
            .inspect_err(|error| tracing::error!(%error, "the ledger begins anew"))
            .ok()
    });
    let mut ledger = restored.unwrap_or_else(|| Ledger::new(start));
    ledger.watch(config.ports.iter().map(Watched::from), at);
    ledger
}

/// Whether the ledger says that something goes on at a port.
fn is_awake(ledger: SharedLedger) -> IsAwake {
    Arc::new(move |port| {
        lock(&ledger).facts(port).is_some_and(|facts| facts.state != PortState::Quiet)
    })
}

/// Says what is missing: as an error where nothing works without it.
pub(super) fn require_capabilities() -> Result<()> {
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
