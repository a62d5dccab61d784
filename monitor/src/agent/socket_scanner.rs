//! Looks from time to time at who holds the watched ports: what the events of binds are reconciled
//! with, and the only way to see sockets that were open before the agent came, were passed on, or
//! were bound unseen.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use monitor_common::held_socket::HeldSocket;
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use super::clock;
use crate::{
    agent::pipeline::Pipeline,
    config::Config,
    process::Joiner,
    sockets::{self, Socket},
};
use monitor_ledger::ClockReading;

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(15);

/// A look goes through every process. Where that takes long, this many times as long passes before
/// the next.
const PAUSE_FACTOR: u32 = 100;

/// The same after a socket has come or gone: who holds it, what it has accepted and to whom it was
/// passed on is to be known soon.
const PERIOD_WHEN_STIRRED: Duration = Duration::from_secs(1);
const PAUSE_FACTOR_WHEN_STIRRED: u32 = 20;

/// A finished look: when it began, and the sockets on the ports.
pub type Findings = (ClockReading, Arc<[Socket]>);

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

    /// Looks, again and again: at once when other ports are watched, and soon when `pipeline` says
    /// that a socket has come or gone. What it finds goes to `findings`.
    pub async fn keep_looking(
        self: Arc<Self>,
        pipeline: Pipeline,
        mut config: watch::Receiver<Arc<Config>>,
        findings: mpsc::Sender<Findings>,
    ) {
        loop {
            let began = Instant::now();
            let at = clock::now();
            let ports: Vec<u16> = config.borrow_and_update().port_numbers().collect();
            let this = Arc::clone(&self);
            match spawn_blocking(move || this.look(&ports)).await {
                Ok(Ok(sockets)) => {
                    if findings.send((at, sockets)).await.is_err() {
                        return;
                    }
                }
                Ok(Err(error)) => tracing::warn!(%error, "cannot look at who holds the ports"),
                Err(_) => return,
            }
            let took = began.elapsed();
            let next = began + PERIOD.max(took * PAUSE_FACTOR);
            let soon = began + PERIOD_WHEN_STIRRED.max(took * PAUSE_FACTOR_WHEN_STIRRED);
            tokio::select! {
                changed = config.changed() => if changed.is_err() { return },
                () = sleep_until(next) => {}
                () = async { pipeline.stirred().await; sleep_until(soon).await } => {}
            }
        }
    }

    fn look(&self, ports: &[u16]) -> io::Result<Arc<[Socket]>> {
        let look = sockets::look_with(ports, &mut lock(&self.joiner), || self.ask_kernel())?;
        if look.unseen.namespaces > 0 {
            tracing::debug!(namespaces = look.unseen.namespaces, "not every namespace was seen");
        }
        let sockets: Arc<[Socket]> = look.sockets.into();
        *lock(&self.sockets) = Arc::clone(&sockets);
        Ok(sockets)
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

/// Those of `sockets`, which are in order, that have `port` at one of their ends.
pub fn on_port(sockets: &[Socket], port: u16) -> &[Socket] {
    let begin = sockets.partition_point(|socket| socket.port < port);
    let end = sockets.partition_point(|socket| socket.port <= port);
    &sockets[begin..end]
}

/// A poisoned lock guards what is as good as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockets::udp_socket;

    #[test]
    fn sockets_are_found_by_port() {
        let sockets = [1, 5, 5, 9].map(udp_socket);
        for (port, count) in [(0, 0), (1, 1), (4, 0), (5, 2), (9, 1), (65535, 0)] {
            assert_eq!(on_port(&sockets, port).len(), count, "{port}");
            assert!(on_port(&sockets, port).iter().all(|socket| socket.port == port));
        }
    }
}
