//! Looks from time to time at who holds the watched ports: what the events of binds are reconciled
//! with, and the only way to see sockets that were open before the agent came, were passed on, or
//! were bound unseen.

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use monitor_common::{
    flow::{Protocol, Side},
    held_socket::HeldSocket,
};
use tokio::{sync::watch, task::spawn_blocking, time::timeout};

use crate::{
    clock,
    config::Config,
    ledger::Held,
    pipeline::Pipeline,
    process::{
        Joiner,
        holders::{self, Socket, TcpState},
    },
};

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(15);

/// A look goes through every process. Where that takes long, this many times as long passes before
/// the next.
const PAUSE_FACTOR: u32 = 500;

/// Asks the kernel side who has sockets open.
pub type OpenSockets = Box<dyn Fn() -> Result<Vec<HeldSocket>> + Send + Sync>;

/// Who held the watched ports when last looked.
pub struct Lookout {
    joiner: Mutex<Joiner>,
    sockets: Mutex<Arc<[Socket]>>,
    /// `None` where the kernel side cannot tell.
    open_sockets: Option<OpenSockets>,
    /// Whether the log says that the kernel side has failed.
    has_complained: AtomicBool,
}

impl fmt::Debug for Lookout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookout").field("sockets", &self.sockets).finish_non_exhaustive()
    }
}

impl Lookout {
    /// One that has seen nothing yet, and tells command lines or does not.
    pub fn new(command_lines: bool, open_sockets: Option<OpenSockets>) -> Self {
        Self {
            joiner: Mutex::new(Joiner::new(command_lines)),
            sockets: Mutex::new([].into()),
            open_sockets,
            has_complained: AtomicBool::new(false),
        }
    }

    /// The sockets on watched ports, by port.
    pub fn sockets(&self) -> Arc<[Socket]> {
        Arc::clone(&lock(&self.sockets))
    }

    /// Looks, again and again, and at once when other ports are watched.
    pub async fn keep_looking(
        self: Arc<Self>,
        pipeline: Pipeline,
        mut config: watch::Receiver<Arc<Config>>,
    ) {
        loop {
            let began = Instant::now();
            let at = clock::moment();
            let ports: Vec<u16> = config.borrow_and_update().port_numbers().collect();
            let this = Arc::clone(&self);
            match spawn_blocking(move || this.look(&ports)).await {
                Ok(Ok(held)) => pipeline.hold(at, held),
                Ok(Err(error)) => tracing::warn!(%error, "cannot look at who holds the ports"),
                Err(_) => return,
            }
            let pause = PERIOD.max(began.elapsed() * PAUSE_FACTOR);
            if let Ok(Err(_)) = timeout(pause, config.changed()).await {
                return;
            }
        }
    }

    fn look(&self, ports: &[u16]) -> io::Result<Vec<Held>> {
        let look = holders::look_with(ports, &mut lock(&self.joiner), || self.ask_kernel())?;
        if look.unseen.namespaces > 0 {
            tracing::debug!(namespaces = look.unseen.namespaces, "not every namespace was seen");
        }
        let held = held(&look.sockets);
        *lock(&self.sockets) = look.sockets.into();
        Ok(held)
    }

    /// What the kernel side says, or `None`: then descriptors are searched.
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

/// How many sockets hold each port. One without a file behind it holds nothing: the kernel only
/// remembers it.
fn held(sockets: &[Socket]) -> Vec<Held> {
    let mut ports = BTreeMap::<(u16, &str), Held>::new();
    for socket in sockets.iter().filter(|s| s.side == Side::Local && s.entry.inode != 0) {
        let (port, protocol) = (socket.port, socket.entry.protocol);
        let none = Held { port, protocol, sockets: 0, can_answer: false };
        let held = ports.entry((port, protocol.name())).or_insert(none);
        held.sockets += 1;
        held.can_answer |=
            protocol == Protocol::Udp || socket.entry.tcp_state != Some(TcpState::Bound);
    }
    ports.into_values().collect()
}

/// A poisoned lock guards what is as good as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
