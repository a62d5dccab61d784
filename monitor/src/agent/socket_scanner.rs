//! Scans of the sockets on the watched ports. Events of binds are reconciled with them, and only
//! they find sockets that were open before the agent started, that were passed on, or whose bind no
//! hook saw.

use std::{
    collections::BTreeSet,
    fmt, io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use monitor_common::{
    capture_notice::CaptureNotice, flow::Protocol, held_socket::HeldSocket, ports::PortSet,
};
use monitor_kernel::record;
use monitor_ledger::{ClockReading, Ledger};
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use super::{
    clock, known_reaches::KnownReaches, lock::lock, pipeline::Pipeline,
    recent_captures::RecentCaptures, scan::Scan, selftests::Selftests,
};
use crate::{
    config::Config,
    process::ProcessEnricher,
    sockets::{
        self, Capture, Evidence, ExpectedOwners, Extent, Forwarding, Listeners, Path, PortReach,
        Socket,
    },
};

/// Time between two scans.
const PERIOD: Duration = Duration::from_secs(15);

/// A scan visits every process. Where that takes long, this many times as long passes before the
/// next.
const PAUSE_FACTOR: u32 = 100;

/// The same after a socket was opened or closed, so that its holders and connections are known soon.
const PERIOD_AFTER_CHANGE: Duration = Duration::from_secs(1);
const PAUSE_FACTOR_AFTER_CHANGE: u32 = 20;

/// Asks the kernel side for the open sockets.
pub type OpenSockets = Box<dyn Fn() -> Result<Vec<HeldSocket>> + Send + Sync>;

/// Asks which interfaces have an XDP program of this agent.
pub type OwnXdp = Box<dyn Fn() -> BTreeSet<String> + Send + Sync>;

/// An answer without a socket that a scan is to explain.
#[derive(Clone, Copy, Debug)]
struct Suspect {
    port: u16,
    protocol: Protocol,
    /// Whether packets of the port arrived, too.
    has_received: bool,
}

/// Scans sockets, and keeps what the last scan found.
pub struct SocketScanner {
    processes: Mutex<ProcessEnricher>,
    expected_owners: Mutex<ExpectedOwners>,
    sockets: Mutex<Arc<[Socket]>>,
    captures: Mutex<Arc<[Capture]>>,
    recent_captures: Mutex<RecentCaptures>,
    reaches: Mutex<KnownReaches>,
    forwardings: Mutex<Arc<[Forwarding]>>,
    /// `None` where the kernel side has no list of them.
    open_sockets: Option<OpenSockets>,
    own_xdp: OwnXdp,
    netns_inode: Option<u32>,
    selftests: Selftests,
    /// Whether the log has the failure of the kernel side already.
    has_complained: AtomicBool,
}

impl fmt::Debug for SocketScanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketScanner").field("sockets", &self.sockets).finish_non_exhaustive()
    }
}

/// Scans until the receiver of `scans` is closed: at once when other ports are watched, soon after
/// `pipeline` has seen a socket opened or closed, and from time to time.
pub async fn run(
    scanner: Arc<SocketScanner>,
    pipeline: Pipeline,
    mut config: watch::Receiver<Arc<Config>>,
    scans: mpsc::Sender<Scan>,
) {
    loop {
        let began = Instant::now();
        let at = clock::now();
        let current = Arc::clone(&config.borrow_and_update());
        let suspects = suspects(&pipeline.ledger(), at);
        let this = Arc::clone(&scanner);
        match spawn_blocking(move || this.scan(at, &current, &suspects)).await {
            Ok(Ok(scan)) => {
                if scans.send(scan).await.is_err() {
                    return;
                }
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot look at who holds the ports");
            }
            Err(_) => return,
        }
        let took = began.elapsed();
        let next = began + PERIOD.max(took * PAUSE_FACTOR);
        let soon = began + PERIOD_AFTER_CHANGE.max(took * PAUSE_FACTOR_AFTER_CHANGE);
        tokio::select! {
            changed = config.changed() => if changed.is_err() { return },
            () = sleep_until(next) => {}
            () = async { pipeline.socket_changed().await; sleep_until(soon).await } => {}
        }
    }
}

fn suspects(ledger: &Ledger, now: ClockReading) -> Vec<Suspect> {
    let suspect = |(port, protocol)| Suspect {
        port,
        protocol,
        has_received: ledger.has_received(port, protocol, now),
    };
    ledger.suspected_answers().map(suspect).collect()
}

impl SocketScanner {
    /// A scanner that has seen nothing yet, and identifies holders by `processes`.
    pub fn new(
        processes: ProcessEnricher,
        open_sockets: Option<OpenSockets>,
        own_xdp: OwnXdp,
        selftests: Selftests,
    ) -> Self {
        Self {
            processes: Mutex::new(processes),
            expected_owners: Mutex::default(),
            sockets: Mutex::new([].into()),
            captures: Mutex::new([].into()),
            recent_captures: Mutex::default(),
            reaches: Mutex::default(),
            forwardings: Mutex::new([].into()),
            open_sockets,
            own_xdp,
            netns_inode: sockets::own_netns_inode().ok(),
            selftests,
            has_complained: AtomicBool::new(false),
        }
    }

    /// Inode of the network namespace whose interfaces are counted.
    pub fn netns_inode(&self) -> Option<u32> {
        self.netns_inode
    }

    /// What the last scan found, by port.
    pub fn sockets(&self) -> Arc<[Socket]> {
        Arc::clone(&lock(&self.sockets))
    }

    /// How packets to a port were led past its sockets in the last minutes.
    pub fn reaches(&self, port: u16) -> Vec<PortReach> {
        lock(&self.reaches).of_port(port, Instant::now())
    }

    /// Finds how packets are led to `suspects`, and which of the ways that were found before are still
    /// there. Entries of UDP in the kernel's table of connections last for some seconds only, so this
    /// is done with the scan.
    fn find_reaches(
        &self,
        suspects: &[Suspect],
        seen: (&[Socket], &[Capture]),
    ) -> io::Result<Vec<PortReach>> {
        let known = lock(&self.reaches).to_review(Instant::now());
        let is_suspect = |port: u16, protocol: Protocol| {
            suspects.iter().any(|suspect| (suspect.port, suspect.protocol) == (port, protocol))
        };
        let reviewed =
            known.into_iter().filter(|(port, protocol, _)| !is_suspect(*port, *protocol));
        // Packets that an XDP program takes are not seen to arrive.
        let reviewed = reviewed.map(|(port, protocol, path)| Suspect {
            port,
            protocol,
            has_received: path != Path::Xdp,
        });
        let all: Vec<Suspect> = suspects.iter().copied().chain(reviewed).collect();
        let mut found = self.look_for_reaches(&all, seen)?;
        lock(&self.reaches).review(&found);
        found.retain(|reach| is_suspect(reach.port, reach.protocol));
        Ok(found)
    }

    fn look_for_reaches(
        &self,
        suspects: &[Suspect],
        (sockets, captures): (&[Socket], &[Capture]),
    ) -> io::Result<Vec<PortReach>> {
        if suspects.is_empty() {
            return Ok(Vec::new());
        }
        let suspects_of = |is_wanted: fn(&Suspect) -> bool| -> Vec<(u16, Protocol)> {
            let wanted = suspects.iter().filter(|suspect| is_wanted(suspect));
            wanted.map(|suspect| (suspect.port, suspect.protocol)).collect()
        };
        let (all, to_unseen) =
            (suspects_of(|_| true), suspects_of(|suspect| !suspect.has_received));
        let own_xdp = (self.own_xdp)();
        let processes = &mut lock(&self.processes);
        let mut found = sockets::find_paths(&all, Extent::Here, processes)?;
        if let Some(netns_inode) = self.netns_inode {
            let past_captures = &lock(&self.recent_captures).list(Instant::now());
            let (to_unseen, own_xdp) = (&*to_unseen, &own_xdp);
            let evidence =
                Evidence { netns_inode, sockets, captures, past_captures, to_unseen, own_xdp };
            found.extend(sockets::explain_answers(&all, &found, evidence, processes));
        }
        Ok(found)
    }

    /// The sockets that take packets of watched ports without holding them, as the last scan found
    /// them.
    pub fn captures(&self) -> Arc<[Capture]> {
        Arc::clone(&lock(&self.captures))
    }

    /// The containers for which proxies hold watched ports, as the last scan found them.
    pub fn forwardings(&self) -> Arc<[Forwarding]> {
        Arc::clone(&lock(&self.forwardings))
    }

    fn find_forwardings(&self, sockets: &[Socket]) {
        match sockets::find_forwardings(sockets, &mut lock(&self.processes)) {
            Ok(found) => *lock(&self.forwardings) = found.into(),
            Err(error) => tracing::warn!(%error, "cannot look at the containers behind ports"),
        }
    }

    /// The sockets by which the processes of these threads take packets of `ports` without holding
    /// them.
    pub fn captures_of(
        &self,
        threads: &BTreeSet<CaptureNotice>,
        ports: &[u16],
    ) -> io::Result<Vec<Capture>> {
        let threads = threads.iter().map(|notice| (notice.tgid, notice.pid));
        let found = sockets::captures_of(threads, ports, &mut lock(&self.processes))?;
        lock(&self.recent_captures).add(&found, Instant::now());
        Ok(found)
    }

    fn scan(&self, at: ClockReading, config: &Config, suspects: &[Suspect]) -> io::Result<Scan> {
        let ports: Vec<u16> = config.port_numbers().collect();
        let mut open = None;
        let mut result = sockets::scan_with(&ports, &mut lock(&self.processes), || {
            open = self.ask_kernel();
            open.clone()
        })?;
        let listeners = self.find_listeners(config, open.as_deref())?;
        if result.unseen.namespaces > 0 {
            tracing::debug!(namespaces = result.unseen.namespaces, "not every namespace was seen");
        }
        if let Err(error) = lock(&self.processes).host_files().save(record::FOLDER.as_ref()) {
            tracing::debug!(%error, "the next agent will not know executables that were replaced");
        }
        lock(&self.expected_owners).judge(&mut result.sockets, config);
        let is_kept = |socket: &Socket| !self.selftests.has(socket.entry.local);
        let sockets: Arc<[Socket]> = result.sockets.into_iter().filter(is_kept).collect();
        let captures: Arc<[Capture]> = result.captures.into();
        *lock(&self.sockets) = Arc::clone(&sockets);
        *lock(&self.captures) = Arc::clone(&captures);
        lock(&self.recent_captures).add(&captures, Instant::now());
        self.find_forwardings(&sockets);
        let reaches = self.find_reaches(suspects, (&sockets, &captures));
        let mut reaches = reaches.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot find out how ports are reached");
            Vec::new()
        });
        let dismissed = dismissed(&reaches);
        reaches.retain(|reach| !dismissed.contains(&(reach.port, reach.protocol)));
        let wanted: Vec<(u16, Protocol)> =
            suspects.iter().map(|suspect| (suspect.port, suspect.protocol)).collect();
        lock(&self.reaches).record(&wanted, &reaches, Instant::now());
        Ok(Scan { at, sockets, listeners, captures, reaches, dismissed })
    }

    /// Every listener of the host but those of selftests; `None` if they are not watched. `open` is the
    /// kernel side's list of open sockets.
    fn find_listeners(
        &self,
        config: &Config,
        open: Option<&[HeldSocket]>,
    ) -> io::Result<Option<Listeners>> {
        if config.listeners.watch.is_empty() {
            return Ok(None);
        }
        let mut found = sockets::find_listeners(&mut lock(&self.processes), open)?;
        found.listeners.retain(|open| !self.selftests.has(open.socket.entry.local));
        Ok(Some(found))
    }

    /// The kernel side's list of open sockets; `None` if `/proc` is to be searched instead.
    fn ask_kernel(&self) -> Option<Vec<HeldSocket>> {
        match self.open_sockets.as_ref()?() {
            Ok(open) => Some(open),
            Err(error) => {
                if !self.has_complained.swap(true, Ordering::Relaxed) {
                    tracing::warn!("holders are searched in /proc: {error:#}");
                }
                None
            }
        }
    }
}

/// Suspects of UDP that nothing but the datagrams themselves speaks for, and that may be a client's:
/// on a port that the kernel chooses for sockets, or one whose datagrams leave for others with their
/// source translated.
fn dismissed(reaches: &[PortReach]) -> Vec<(u16, Protocol)> {
    let is_doubtful =
        |reach: &&PortReach| reach.protocol == Protocol::Udp && reach.reach.path == Path::Unknown;
    let doubtful = || reaches.iter().filter(is_doubtful).map(|reach| (reach.port, reach.protocol));
    let ports: PortSet = doubtful().map(|(port, _)| port).collect();
    if doubtful().next().is_none() {
        return Vec::new();
    }
    let masqueraded = sockets::masqueraded(&ports).unwrap_or_else(|error| {
        tracing::debug!(%error, "the tracked connections cannot be read");
        BTreeSet::new()
    });
    let automatic = sockets::automatic_ports();
    let is_clients = |(port, protocol): &(u16, Protocol)| {
        automatic.contains(port) || masqueraded.contains(&(*port, protocol.name()))
    };
    doubtful().filter(is_clients).collect()
}
