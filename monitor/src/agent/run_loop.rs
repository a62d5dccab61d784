//! The loop of a running agent: rings, counters, scans of sockets, interfaces and signals.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use monitor_kernel::{Streams, snapshot::Snapshot};
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until},
};

use super::{
    clock,
    lock::lock,
    scan::Scan,
    signals::{Order, Signals, Stop},
    state::Agent,
};

/// Interfaces change in bursts; one reconciliation serves all that change within this time.
const SETTLE: Duration = Duration::from_millis(50);

/// How often the kernel is asked whether the hooks are attached: no message says that a link was
/// detached.
const CHECK_PERIOD: Duration = Duration::from_secs(1);

/// How often the counters are read for the ledger, which learns of packets by nothing else.
const READING_PERIOD: Duration = Duration::from_secs(1);

/// With tens of thousands of ports a reading takes long. This many times as long passes before the
/// next one, within the longest period that the ledger accepts.
const READING_PAUSE_FACTOR: u32 = 50;
const LONGEST_READING_PERIOD: Duration = Duration::from_secs(20);

/// How often it is read who talks on the ports, for the history by day: several times within the window
/// of a sketch.
const REMOTES_PERIOD: Duration = Duration::from_secs(10);

impl Agent {
    /// Handles everything that happens between start and stop. Returns why to stop.
    pub(super) async fn run_loop(
        &mut self,
        mut streams: Streams,
        mut scans: mpsc::Receiver<Scan>,
        signals: &mut Signals,
    ) -> Result<Stop> {
        let pipeline = self.pipeline.clone();
        let mut next_reading = Instant::now();
        let mut next_check = Instant::now() + CHECK_PERIOD;
        let mut next_remotes = next_reading;
        loop {
            tokio::select! {
                read = streams.events.receive(|record| pipeline.submit_call(record)) => {
                    read.context("the event ring cannot be read")?;
                    self.noticed.add(streams.events.take_noticed());
                }
                read = streams.samples.receive(|sample| pipeline.submit_sample(sample)) => {
                    read.context("the sample ring cannot be read")?;
                }
                () = sleep_until(next_reading) => {
                    let with_remotes = next_remotes <= next_reading;
                    if with_remotes {
                        next_remotes = next_reading + REMOTES_PERIOD;
                    }
                    next_reading = self.read_counters(&mut streams, with_remotes).await?;
                }
                Some(scan) = scans.recv() => {
                    // The pipeline takes every call made during a scan before the scan itself.
                    streams.events.receive_pending(|record| pipeline.submit_call(record));
                    pipeline.submit_scan(scan);
                }
                forwarded = streams.log.forward() => forwarded?,
                changed = self.interfaces.changed() => {
                    changed.context("netlink does not report changes of interfaces")?;
                    sleep(SETTLE).await;
                    self.reconcile().await?;
                    self.check_hooks().await;
                }
                () = sleep_until(next_check) => {
                    self.check_hooks().await;
                    self.log_stall();
                    next_check = Instant::now() + CHECK_PERIOD;
                }
                order = signals.next() => match order {
                    Order::Reload => self.reload().await,
                    Order::Stop(stop) => {
                        self.read_counters(&mut streams, true).await?;
                        return Ok(stop);
                    }
                },
                () = self.manager.heartbeat(|| pipeline.stalled_for().is_none()) => {}
            }
        }
    }

    /// Logs when the pipeline gets stuck, and when it goes on.
    fn log_stall(&mut self) {
        let stalled = self.pipeline.stalled_for();
        if stalled.is_some() != self.has_stalled {
            self.has_stalled = stalled.is_some();
            match stalled {
                Some(since) => tracing::error!(?since, "events wait: the pipeline is stuck"),
                None => tracing::info!("the pipeline goes on"),
            }
        }
    }

    /// Gives the counters to the ledger, after every call that they may count. Returns when the next
    /// reading is due.
    async fn read_counters(&self, streams: &mut Streams, with_remotes: bool) -> Result<Instant> {
        let began = Instant::now();
        let at = clock::now();
        let kernel = Arc::clone(&self.kernel);
        let captures = self.config().payload.capture;
        let counters = spawn_blocking(move || {
            let mut kernel = lock(&kernel);
            // Before sketches are emptied for the next window.
            let remotes = with_remotes.then(|| kernel.remotes()).transpose();
            let remotes = remotes.unwrap_or_else(|error| {
                tracing::warn!("remote addresses are not read now: {error:#}");
                None
            });
            if let Err(error) = kernel.renew_sampling(captures) {
                tracing::warn!("payloads are not sampled now: {error:#}");
            }
            let sums = kernel.take_call_sums().unwrap_or_else(|error| {
                tracing::warn!("sums of socket calls are not read now: {error:#}");
                Vec::new()
            });
            (Snapshot { remotes, ..kernel.port_counters() }, sums)
        });
        let (counters, sums) = counters.await?;
        sums.into_iter().for_each(|record| self.pipeline.submit_call(record));
        streams.events.receive_pending(|record| self.pipeline.submit_call(record));
        self.noticed.add(streams.events.take_noticed());
        self.pipeline.submit_counters(at, counters);
        let pause = began.elapsed() * READING_PAUSE_FACTOR;
        Ok(began + pause.clamp(READING_PERIOD, LONGEST_READING_PERIOD))
    }
}
