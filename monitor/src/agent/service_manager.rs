//! Notifications to the service manager that started the agent: `sd_notify(3)`.

use std::{future, io, time::Duration};

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// The service manager of this process, if it has one that expects notifications.
#[derive(Debug)]
pub struct ServiceManager {
    /// When to say that the agent is alive; `None` without a watchdog.
    beats: Option<Interval>,
}

impl ServiceManager {
    /// Asks the environment: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub fn of_this_process() -> Self {
        Self { beats: sd_notify::watchdog_enabled().map(beats) }
    }

    /// The agent does its work: all its hooks are attached, its configuration is read.
    pub fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// The agent reads its configuration again; [`Self::ready`] follows.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => untold(&error),
        }
    }

    /// The agent is about to end.
    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// Waits until it is time to say that the agent is alive, and says so. Nothing is lost when it
    /// is dropped while it waits.
    pub async fn heartbeat(&mut self) {
        let Some(beats) = &mut self.beats else { return future::pending().await };
        beats.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

/// Twice in the time after which the service manager takes the agent for dead, as `sd_notify(3)`
/// recommends.
fn beats(patience: Duration) -> Interval {
    let mut beats = interval((patience / 2).max(Duration::from_millis(1)));
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats
}

/// Does nothing without a service manager.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        untold(&error);
    }
}

fn untold(error: &io::Error) {
    tracing::warn!(%error, "the service manager cannot be notified");
}
