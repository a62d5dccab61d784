//! Start, in the order that privileges demand: the only thread opens what takes them and gives them
//! up, then the other threads are started.

use std::{
    ops::ControlFlow,
    path::Path,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result, bail};

use super::{
    alert_usage::is_in_use, attachment::selected, clock, local_addresses::AddressUpdates,
    selftests::Selftests,
};
use crate::{
    agent::pipeline::{LastSenders, Parts, Pipeline, SharedHours, Wanted},
    api::{self, sender::Sender},
    config::Config,
    event::{EventContext, EventName},
    listeners::SharedOverview,
    process::{HostFiles, Inspector},
    sinks::{self, EventQueue, Sink},
    store::{Filter, KeptHistory, KeptLedger, Reader, Store, StoreQueue},
    terminal::logging::LogLevel,
    web::{self, Security},
};
use monitor_kernel::{
    Kernel, KernelLogLevel, Options, Streams, capabilities,
    clock::boot_id,
    confinement::{Role, confine},
    hooks::HookStatus,
    interfaces::Interfaces,
    record,
    time_namespace::clock_shift,
};
use monitor_ledger::{CounterEpoch, Ledger, Start, Watched, days::Chronicle};

/// Everything that is opened before the first hook is attached.
pub(super) struct Prepared {
    kernel: Kernel,
    interfaces: Interfaces,
    addresses: AddressUpdates,
    streams: Streams,
    sinks: Vec<Sink>,
    store: Store,
    server: Server,
}

/// Where the web server listens, and what it asks of clients.
pub(super) struct Server {
    pub(super) listeners: Vec<web::Listener>,
    pub(super) security: Option<Security>,
}

/// What runs by itself from now on.
pub(super) struct Started {
    pub(super) kernel: Arc<Mutex<Kernel>>,
    pub(super) interfaces: Interfaces,
    pub(super) addresses: AddressUpdates,
    pub(super) streams: Streams,
    /// Outcomes of the socket hooks.
    pub(super) sockets: Vec<HookStatus>,
    pub(super) threads: Threads,
    pub(super) context: EventContext,
    pub(super) server: Server,
}

/// The threads that work beside the agent's own.
pub(super) struct Threads {
    pub(super) pipeline: Pipeline,
    pub(super) sinks: EventQueue,
    pub(super) store: StoreQueue,
    pub(super) selftests: Selftests,
    pub(super) host_files: HostFiles,
    pub(super) inspector: Inspector,
}

impl Prepared {
    pub(super) async fn open(config: &Config, log_level: LogLevel) -> Result<Self> {
        let sinks = capabilities::as_later(|| sinks::open(&config.sinks))??;
        let store = capabilities::as_later(|| Store::open(&config.store))?;
        let interfaces = Interfaces::connect().context("cannot ask netlink for the interfaces")?;
        let addresses = AddressUpdates::connect();
        let present = interfaces.list().context("cannot list the interfaces")?;
        let (kernel, streams) = Kernel::start(Options {
            command_lines: config.command_line.are_read(),
            ports: config.ports.len(),
            interfaces: selected(&config.interfaces, &present).len(),
            log_level: kernel_log_level(log_level),
        })?;
        let server = Server::open(config).await?;
        Ok(Self { kernel, interfaces, addresses, streams, sinks, store, server })
    }

    /// Attaches the socket hooks, gives up privileges and starts all threads. The hooks are detached
    /// again if that fails.
    pub(super) fn start(self, config: &Config) -> Result<Started> {
        let Self { mut kernel, interfaces, addresses, streams, sinks, store, server } = self;
        if let Some(seed) = store.history().map(|kept| kept.chronicle.seed)
            && let Err(error) = kernel.set_address_seed(seed)
        {
            tracing::warn!("addresses of earlier days may count twice: {error:#}");
        }
        // Counters before hooks, so that every call finds a place to be counted.
        kernel.watch(&config.port_numbers().collect())?;
        kernel.watch_listeners(&config.listeners.watch.ports())?;
        let sockets = kernel.attach_sockets(config.bind_mechanism);
        let context = event_context();
        let threads = match Threads::start(&kernel, config, sinks, store, context.clone()) {
            Ok(threads) => threads,
            Err(error) => {
                if let Err(error) = kernel.detach_hooks() {
                    tracing::warn!("not every hook is detached, see `ghostport detach`: {error:#}");
                }
                return Err(error);
            }
        };
        let kernel = Arc::new(Mutex::new(kernel));
        Ok(Started { kernel, interfaces, addresses, streams, sockets, threads, context, server })
    }
}

impl Threads {
    /// Gives up the privileges of the only thread that there is by now, and starts the others.
    fn start(
        kernel: &Kernel,
        config: &Config,
        sinks: Vec<Sink>,
        mut store: Store,
        context: EventContext,
    ) -> Result<Self> {
        let ledger = Arc::new(Mutex::new(ledger(kernel, config, store.ledger())));
        let chronicle = chronicle(kernel, config, store.history());
        capabilities::give_up_the_rest()
            .context("cannot give up capabilities that are not needed")?;
        // The threads that follow have the filter, too.
        if let Err(error) = confine(Role::Agent) {
            tracing::warn!(%error, "system calls that the agent does not need are not refused");
        }
        let listeners = SharedOverview::default();
        let is_in_use = is_in_use(Arc::clone(&ledger), listeners.clone());
        let sinks = EventQueue::start(sinks, is_in_use)?;
        let store = StoreQueue::start(store)?;
        let selftests = Selftests::default();
        let host_files = HostFiles::restored(Path::new(record::FOLDER));
        let inspector = Inspector::new(config.evidence);
        let senders = senders(&config.store.path);
        let pipeline = Pipeline::start(Parts {
            ledger,
            chronicle,
            hours: SharedHours::default(),
            wanted: Wanted::from(config),
            command_lines: config.command_line,
            context,
            queue: sinks.clone(),
            store: store.clone(),
            senders,
            selftests: selftests.clone(),
            listeners,
            host_files: host_files.clone(),
            inspector: inspector.clone(),
        })?;
        Ok(Self { pipeline, sinks, store, selftests, host_files, inspector })
    }
}

impl Server {
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

/// The circumstances of this start.
fn start_of(kernel: &Kernel) -> Start {
    let counters =
        CounterEpoch { id: kernel.counters_id().to_owned(), adopted: kernel.counters_adopted() };
    Start { at: clock::now(), boot_id: boot_id(), counters }
}

/// The history as the store has it, or a new one.
fn chronicle(kernel: &Kernel, config: &Config, kept: Option<KeptHistory>) -> Chronicle {
    let start = start_of(kernel);
    let seed = kernel.address_seed().unwrap_or_else(|error| {
        tracing::warn!("addresses of earlier days may count twice: {error:#}");
        0
    });
    let mut chronicle = match kept {
        Some(KeptHistory { chronicle, cursors, open, watched }) => {
            Chronicle::resume(chronicle, cursors, open, watched, &start, seed)
        }
        None => Chronicle::new(&start, seed),
    };
    chronicle.watch(config.port_numbers(), start.at.wall);
    chronicle
}

/// The ledger as the store has it, or a new one.
fn ledger(kernel: &Kernel, config: &Config, kept: Option<KeptLedger>) -> Ledger {
    let start = start_of(kernel);
    let at = start.at;
    let restored = kept.and_then(|kept| {
        kept.restore(start.clone())
            .inspect_err(
                |error| tracing::error!(%error, "the stored ledger is unusable: a new one begins"),
            )
            .ok()
    });
    let mut ledger = restored.unwrap_or_else(|| Ledger::new(start));
    ledger.watch(config.ports.iter().map(Watched::from), at);
    ledger
}

/// The processes that last sent to watched ports of other hosts, by the newest events in the store.
fn senders(store: &Path) -> LastSenders {
    /// Events that are read of each kind.
    const MOST: u32 = 256;
    let senders = LastSenders::default();
    // A new store, or one that cannot be read, has none.
    let Ok(reader) = Reader::open(store) else { return senders };
    for kind in [EventName::Connect, EventName::Summary] {
        let filter = Filter { kind: Some(kind), limit: Some(MOST), ..Filter::default() };
        let read = reader.each(&filter, |line| {
            if let Some((port, sender)) = Sender::of_line(line) {
                senders.record(port, sender);
            }
            ControlFlow::Continue(())
        });
        if let Err(error) = read {
            tracing::debug!(%error, "earlier senders are not known");
        }
    }
    senders
}

/// Logs which capabilities are missing; an error if nothing works without them.
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

fn event_context() -> EventContext {
    if clock_shift().is_none() {
        tracing::error!("times are wrong: the shift of this time namespace cannot be read");
    }
    let host = rustix::system::uname();
    EventContext { host_name: host.nodename().to_string_lossy().into_owned(), clock_offset_ns: 0 }
}

/// The kernel side logs as much as the agent does.
const fn kernel_log_level(level: LogLevel) -> KernelLogLevel {
    match level {
        LogLevel::Error => KernelLogLevel::Off,
        LogLevel::Warn | LogLevel::Info => KernelLogLevel::Warn,
        LogLevel::Debug | LogLevel::Trace => KernelLogLevel::Debug,
    }
}
