//! Selftests of the running agent.
//!
//! A client of the Unix socket asks for one, and is given a watched port that is free and an address of
//! 127.0.0.0/8 that was chosen by chance. What it does there within a few seconds has a mark, by which
//! the kernel side reports it apart from everything else: it is counted for no port, and neither the
//! ledger nor a scan learns of it. The agent compares what its hooks, its rings and its pipeline have
//! reported with what the client must have done, and emits one event.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use jiff::Timestamp;
use monitor_common::flow::Direction;
use monitor_kernel::{
    Kernel,
    hooks::{Hook, HookStatus},
};
use tokio::sync::broadcast::error::RecvError;

use super::{
    lock::lock,
    pipeline::Pipeline,
    selftests::{LIMIT, Selftests},
};
use crate::{
    api::selftest::{Assignment, FOLDER, HookResult, SelftestReport, SelftestResult},
    event::{
        Event, EventContext,
        broadcast::{NumberedEvent, Subscribed},
    },
    sockets::{self, HiddenProcesses},
};

/// Time for the reports of what the client has done.
const REPORT_LIMIT: Duration = Duration::from_secs(3);

/// Time for the event to arrive at a subscriber.
const EVENT_LIMIT: Duration = Duration::from_secs(2);

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// What a selftest takes of the agent.
pub(super) struct SelftestRunner {
    pub(super) kernel: Arc<Mutex<Kernel>>,
    pub(super) pipeline: Pipeline,
    pub(super) selftests: Selftests,
    pub(super) context: EventContext,
}

impl SelftestRunner {
    /// Begins a selftest by a process on one of `ports`; `None` while another runs, or without a port.
    pub(super) fn begin(&self, client: Option<u32>, ports: &[u16]) -> Result<Option<Assignment>> {
        let chance = RandomState::new().hash_one(Instant::now());
        let [a, b, c, d, ..] = chance.to_ne_bytes();
        // Neither a network nor a broadcast address, and not the one that everything uses.
        let address = Ipv4Addr::new(127, a | 1, b, c.clamp(1, 254));
        let Some(port) = ports.get(usize::from(d) % ports.len().max(1)).copied() else {
            return Ok(None);
        };
        if !self.selftests.begin((address, port).into()) {
            return Ok(None);
        }
        let tgid = client.filter(|_| is_first_pid_namespace());
        lock(&self.kernel).selftest().begin(address, port, tgid, LIMIT)?;
        let netns_inode = sockets::own_netns_inode().ok();
        Ok(Some(Assignment { address: IpAddr::V4(address), port, netns_inode }))
    }

    /// Ends it: waits for what is missing, emits the event, and leaves the result for the metrics.
    /// `sent` is whether the client sent its packet. `None` if none has begun.
    pub(super) fn finish(&self, sent: bool) -> Result<Option<SelftestReport>> {
        let hooks = tested(&lock(&self.kernel).hooks(), sent);
        let deadline = Instant::now() + REPORT_LIMIT;
        let mut reported = self.reported()?;
        while !hooks.iter().all(|hook| reported.contains(&hook.hook)) && Instant::now() < deadline {
            thread::sleep(PAUSE);
            reported = self.reported()?;
        }
        lock(&self.kernel).selftest().end()?;
        let Some(run) = self.selftests.end() else { return Ok(None) };
        let hooks: Vec<HookResult> = hooks
            .into_iter()
            .map(|status| HookResult {
                hook: status.hook,
                mechanism: status.attached,
                seen: reported.contains(&status.hook),
            })
            .collect();
        let mut report =
            SelftestReport { success: false, port: run.at.port(), hooks, event_delivered: false };
        let now = Timestamp::now();
        let event = Event::selftest(now, run.at, run.call, report.failure(), &self.context);
        report.event_delivered = self.deliver(event);
        report.success = report.failure().is_none() && report.event_delivered;
        if let Err(error) = SelftestResult::new(report.success, now).write(Path::new(FOLDER)) {
            tracing::warn!(%error, folder = FOLDER, "the metrics lack the result of a selftest");
        }
        Ok(Some(report))
    }

    /// Hooks that have reported something with the mark.
    fn reported(&self) -> Result<BTreeSet<Hook>> {
        let mut reported = self.selftests.reported();
        let mut kernel = lock(&self.kernel);
        for (hook, direction) in
            [(Hook::Ingress, Direction::Ingress), (Hook::Egress, Direction::Egress)]
        {
            if kernel.selftest().packets(direction)? > 0 {
                reported.insert(hook);
            }
        }
        Ok(reported)
    }

    /// Emits the event; whether a subscriber received it.
    fn deliver(&self, event: Event) -> bool {
        let mut subscriber = self.pipeline.subscribe(Subscribed::Summed);
        self.pipeline.emit(event);
        let received = async {
            loop {
                match subscriber.next().await {
                    Ok(event) if is_of_selftest(&event) => return true,
                    // Another one, or some were lost on the way.
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return false,
                }
            }
        };
        let limited = async { tokio::time::timeout(EVENT_LIMIT, received).await };
        tokio::runtime::Handle::current().block_on(limited).unwrap_or(false)
    }
}

fn is_of_selftest(event: &NumberedEvent) -> bool {
    event.line.json().contains("\"event.name\":\"ghostport.selftest\"")
}

/// The hooks that must have seen a selftest: those that are attached, of packets on the loopback
/// interface and of the call that sends them if a packet was sent, and that of binds in any case.
fn tested(hooks: &[HookStatus], sent: bool) -> Vec<HookStatus> {
    let is_tested = |status: &&HookStatus| match status.hook {
        Hook::Ingress | Hook::Egress => {
            sent && status.interface.as_deref() == Some("lo") && status.attached.is_some()
        }
        Hook::Bind => true,
        Hook::Connect => sent && status.attached.is_some(),
        Hook::Listen | Hook::Close => status.attached.is_some(),
    };
    hooks.iter().filter(is_tested).cloned().collect()
}

/// Whether process ids of this process are those of the kernel side.
fn is_first_pid_namespace() -> bool {
    HiddenProcesses::here() != Some(HiddenProcesses::PidNamespace)
}
