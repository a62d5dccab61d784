//! Looks at processes that may have begun to capture packets, at once when the kernel side notices them:
//! a packet socket may be gone before the next scan.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use monitor_common::capture_notice::CaptureNotice;
use tokio::{
    sync::{Notify, watch},
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::{clock, lock::lock, pipeline::Pipeline, socket_scanner::SocketScanner};
use crate::config::Config;

/// Time that a process gets to attach its filter, and to open further sockets.
const SETTLE: Duration = Duration::from_millis(15);

/// So many times as long as a look took passes before the next one.
const PAUSE_FACTOR: u32 = 10;

/// The threads that were noticed.
#[derive(Debug, Default)]
pub(super) struct Noticed {
    threads: Mutex<BTreeSet<CaptureNotice>>,
    added: Notify,
}

impl Noticed {
    /// Adds threads whose processes are to be looked at.
    pub(super) fn add(&self, threads: Vec<CaptureNotice>) {
        if !threads.is_empty() {
            lock(&self.threads).extend(threads);
            self.added.notify_one();
        }
    }
}

/// Looks at the processes that are noticed, until it is aborted.
pub(super) async fn run(
    noticed: Arc<Noticed>,
    scanner: Arc<SocketScanner>,
    pipeline: Pipeline,
    config: watch::Receiver<Arc<Config>>,
) {
    loop {
        noticed.added.notified().await;
        sleep(SETTLE).await;
        let (began, at) = (Instant::now(), clock::now());
        let threads = std::mem::take(&mut *lock(&noticed.threads));
        let ports: Vec<u16> = config.borrow().port_numbers().collect();
        let this = Arc::clone(&scanner);
        let look = spawn_blocking(move || this.captures_of(&threads, &ports));
        match look.await {
            Ok(Ok(captures)) if captures.is_empty() => {}
            Ok(Ok(captures)) => pipeline.submit_captures(at, captures),
            Ok(Err(error)) => tracing::debug!(%error, "cannot look at packet sockets"),
            Err(_) => return,
        }
        sleep(began.elapsed() * PAUSE_FACTOR).await;
    }
}
