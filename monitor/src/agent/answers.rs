//! What the agent answers: to the API, to a scrape, and to the scanner of sockets.

use std::{
    ops::ControlFlow,
    path::Path,
    sync::{Arc, Mutex},
};

use anyhow::Result;
use jiff::Timestamp;
use tokio::sync::watch;

use super::{
    clock,
    lock::lock,
    pipeline::Pipeline,
    selftest::SelftestRunner,
    socket_scanner::{OpenSockets, OwnXdp, SocketScanner},
};
use crate::{
    api::{
        agent::{AgentFacts, HookNumbers, LostEvents},
        capture::Capture,
        forwarding::ForwardedTo,
        history::History,
        listener::Listeners,
        port::Port,
        reach::AnsweredBy,
        selftest::{self, Assignment, SelftestReport, SelftestResult},
        socket::Socket,
    },
    config::{Config, WatchedPort, WebDetails},
    event::{
        EventLosses,
        broadcast::{Subscribed, Subscriber},
    },
    metrics::{
        self, AgentStatus, Exposition, ExpositionFormat, HolderInfo, IdentifiedCounts, LedgerFacts,
        Origins, ProcessFacts,
    },
    process,
    sinks::EventQueue,
    sockets::{self, on_port},
    store::{Filter, Reader, StoreQueue},
    web::{Source, TalkerCounts},
};
use monitor_kernel::{
    Kernel,
    hooks::{HookMechanism, HookStatus},
};
use monitor_ledger::{ClockReading, Ledger, PortFacts};

/// A client of a selftest may be without privileges (`net.ipv4.ip_unprivileged_port_start`).
const FIRST_UNPRIVILEGED_PORT: u16 = 1024;

/// What the agent knows, for the API.
pub(super) struct Answers {
    pub(super) kernel: Arc<Mutex<Kernel>>,
    pub(super) pipeline: Pipeline,
    pub(super) scanner: Arc<SocketScanner>,
    pub(super) status: Arc<Mutex<AgentStatus>>,
    pub(super) config: watch::Receiver<Arc<Config>>,
    pub(super) selftests: SelftestRunner,
    pub(super) host: String,
    pub(super) started: Timestamp,
    pub(super) sinks: EventQueue,
    pub(super) store: StoreQueue,
}

impl Source for Answers {
    fn details(&self) -> WebDetails {
        self.config.borrow().web_details
    }

    fn ports(&self, only: Option<u16>) -> Result<Vec<Port>> {
        let config = Arc::clone(&self.config.borrow());
        let wanted = config.ports.iter().filter(|port| only.is_none_or(|only| port.number == only));
        // Events wait for the ledger, so it is locked for no more than this.
        let ledger = self.pipeline.ledger();
        let known: Vec<(&WatchedPort, PortFacts)> =
            wanted.filter_map(|port| Some((port, ledger.facts(port.number)?))).collect();
        drop(ledger);
        let verdicts = |port| self.pipeline.tallies().of_port(port);
        let sockets = self.scanner.sockets();
        let captures = self.scanner.captures();
        let forwardings = self.scanner.forwardings();
        let view = |(port, facts): (&WatchedPort, PortFacts)| {
            let sockets = Socket::list(on_port(&sockets, port.number));
            let answered_by = AnsweredBy::list(&self.scanner.reaches(port.number), port.number);
            Port {
                captures: Capture::on_port(&captures, port.number),
                forwarded_to: ForwardedTo::on_port(&forwardings, port.number),
                last_sender: self.pipeline.last_sender(port.number),
                ..Port::of_agent(port, &facts, &verdicts(port.number), answered_by, sockets)
            }
        };
        Ok(known.into_iter().map(view).collect())
    }

    fn history(&self, port: u16) -> Result<Option<History>> {
        Ok(self.pipeline.history(port))
    }

    fn agent(&self) -> Result<AgentFacts> {
        let (hooks, ring) = {
            let kernel = lock(&self.kernel);
            (kernel.hooks(), kernel.ring_losses()?)
        };
        let attached = hooks.iter().filter(|hook| hook.attached.is_some()).count();
        let missing = hooks.len() - attached;
        let EventLosses { queue, sink } = losses(&self.pipeline, &self.sinks, &self.store);
        let build = lock(&self.status).build.clone();
        Ok(AgentFacts {
            host: self.host.clone(),
            version: build.version.to_owned(),
            revision: build.revision.to_owned(),
            kernel: build.kernel,
            started: self.started,
            hooks: HookNumbers { attached, missing },
            events_lost: LostEvents { ring, queue, sink },
            coverage_gap_seconds: self.pipeline.ledger().coverage_gap().as_secs_f64(),
        })
    }

    fn listeners(&self) -> Listeners {
        let learning = self.pipeline.ledger().listeners().is_learning();
        Listeners::of_agent(self.pipeline.listeners().as_deref(), learning)
    }

    fn hooks(&self) -> Result<Vec<HookStatus>> {
        Ok(lock(&self.kernel).hooks())
    }

    fn addresses_error(&self) -> Option<String> {
        lock(&self.status).addresses_error.clone()
    }

    fn talkers(&self) -> Result<TalkerCounts> {
        let kernel = lock(&self.kernel);
        Ok(TalkerCounts { sources: kernel.sources()?, talkers: kernel.talkers()? })
    }

    fn events(&self, filter: &Filter) -> Result<Vec<String>> {
        let mut events = Vec::new();
        let reader = Reader::open(&self.config.borrow().store.path)?;
        reader.each(filter, |line| {
            events.push(line.to_owned());
            ControlFlow::Continue(())
        })?;
        if let unreadable @ 1.. = reader.unreadable() {
            tracing::warn!(unreadable, "damaged events of the store were skipped");
        }
        Ok(events)
    }

    fn begin_selftest(&self, client: Option<u32>) -> Result<Option<Assignment>> {
        let config = Arc::clone(&self.config.borrow());
        let known = self.scanner.sockets();
        let is_held = |port: u16| on_port(&known, port).iter().any(sockets::Socket::holds_port);
        let mut ports: Vec<u16> = config.port_numbers().filter(|port| !is_held(*port)).collect();
        if ports.iter().any(|port| *port >= FIRST_UNPRIVILEGED_PORT) {
            ports.retain(|port| *port >= FIRST_UNPRIVILEGED_PORT);
        }
        self.selftests.begin(client, &ports)
    }

    fn finish_selftest(&self, sent: bool) -> Result<Option<SelftestReport>> {
        self.selftests.finish(sent)
    }

    fn subscribe(&self, events: Subscribed) -> Subscriber {
        self.pipeline.subscribe(events)
    }
}

/// The kernel side's list of open sockets, if it has one. It is opened with the kernel side locked,
/// and read without.
pub(super) fn open_sockets(kernel: &Arc<Mutex<Kernel>>) -> Option<OpenSockets> {
    if let Some(why) = lock(kernel).holders_unsupported() {
        tracing::info!(why, "holders are searched in /proc");
        return None;
    }
    if let Some(why) = lock(kernel).captures_unsupported() {
        tracing::info!(why, "packet sockets are found by the next scan, and not at once");
    }
    let kernel = Arc::clone(kernel);
    Some(Box::new(move || {
        let open = lock(&kernel).open_sockets()?;
        Ok(open.read()?)
    }))
}

/// The interfaces whose XDP program is this agent's.
pub(super) fn own_xdp(kernel: &Arc<Mutex<Kernel>>) -> OwnXdp {
    let kernel = Arc::clone(kernel);
    let is_xdp = |hook: &HookStatus| {
        matches!(hook.attached, Some(HookMechanism::XdpNative | HookMechanism::XdpGeneric))
    };
    Box::new(move || {
        let hooks = lock(&kernel).hooks();
        hooks.into_iter().filter(is_xdp).filter_map(|hook| hook.interface).collect()
    })
}

/// Events that were lost behind the ring buffer.
fn losses(pipeline: &Pipeline, queue: &EventQueue, store: &StoreQueue) -> EventLosses {
    let kept = store.losses();
    EventLosses { queue: pipeline.lost() + kept.queue, sink: queue.lost() + kept.sink }
}

/// The metrics, read from the kernel at each call.
pub(super) fn exposition(answers: &Answers) -> Exposition {
    let (kernel, status) = (Arc::clone(&answers.kernel), Arc::clone(&answers.status));
    let (pipeline, scanner) = (answers.pipeline.clone(), Arc::clone(&answers.scanner));
    let (queue, store) = (answers.sinks.clone(), answers.store.clone());
    let config = answers.config.clone();
    let origins = origins(&lock(&kernel), &pipeline.ledger(), clock::now());
    Arc::new(move |format| {
        let snapshot = lock(&kernel).snapshot()?;
        let ledger = LedgerFacts::new(&pipeline.ledger(), pipeline.differences());
        let mut status = lock(&status).clone();
        status.identified = IdentifiedCounts::new(&pipeline.tallies(), pipeline.lost_samples());
        status.losses = losses(&pipeline, &queue, &store);
        status.held_back = queue.held_back();
        status.listeners = pipeline.listeners().map(|overview| overview.counts());
        status.abandoned_reads = process::abandoned_reads();
        status.pipeline_busy = pipeline.busy_for();
        if config.borrow().holder_info {
            status.holders = HolderInfo::list(&scanner.sockets());
        }
        status.selftest = SelftestResult::read(Path::new(selftest::FOLDER));
        // Where /proc cannot be read its series are absent.
        let own = ProcessFacts::read().ok();
        let origins = Some(&origins).filter(|_| format == ExpositionFormat::OpenMetrics);
        metrics::render(&snapshot, &ledger, &status, own.as_ref(), origins)
    })
}

/// When the counters of an agent that starts now began.
fn origins(kernel: &Kernel, ledger: &Ledger, now: ClockReading) -> Origins {
    Origins::new(kernel.counting_since_ns(), ledger.time_since_begin(now), now)
}
