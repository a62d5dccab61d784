//! Looks from time to time at who holds the watched ports: what the events of binds are reconciled
//! with, and the only way to see sockets that were open before the agent came, were passed on, or
//! were bound unseen.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use monitor_common::flow::{Protocol, Side};
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
const PAUSE_FACTOR: u32 = 100;

/// Who held the watched ports when last looked.
#[derive(Debug)]
pub struct Lookout {
    joiner: Mutex<Joiner>,
    sockets: Mutex<Arc<[Socket]>>,
}

impl Lookout {
    /// One that has seen nothing yet, and tells command lines or does not.
    pub fn new(command_lines: bool) -> Self {
        Self { joiner: Mutex::new(Joiner::new(command_lines)), sockets: Mutex::new([].into()) }
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
        let look = holders::look(ports, &mut lock(&self.joiner))?;
        if look.unseen.namespaces > 0 {
            tracing::debug!(namespaces = look.unseen.namespaces, "not every namespace was seen");
        }
        let held = held(&look.sockets);
        *lock(&self.sockets) = look.sockets.into();
        Ok(held)
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
