//! Notifications to the service manager that started the agent: `sd_notify(3)`.

use std::{
    env, future, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

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
        notify(&[NotifyState::Ready]);
    }

    /// The agent reads its configuration again; [`Self::ready`] follows.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(error) => warn(&error),
        }
    }

    /// The agent is about to end.
    pub fn stopping(&self) {
        notify(&[NotifyState::Stopping]);
    }

    /// Waits until it is time to say that the agent is alive, and says so if it is. Nothing is lost
    /// when this is dropped while it waits.
    pub async fn heartbeat(&mut self, is_alive: impl Fn() -> bool) {
        let Some(beats) = &mut self.beats else { return future::pending().await };
        beats.tick().await;
        if is_alive() {
            notify(&[NotifyState::Watchdog]);
        }
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
fn notify(state: &[NotifyState<'_>]) {
    let name = env::var_os("NOTIFY_SOCKET");
    let outcome = match name.as_deref().map(|name| name.as_bytes()) {
        Some([b'@', name @ ..]) => notify_abstract(name, state),
        _ => sd_notify::notify(state),
    };
    if let Err(error) = outcome {
        warn(&error);
    }
}

/// A name in the abstract namespace, which `sd_notify` takes for a path.
fn notify_abstract(name: &[u8], state: &[NotifyState<'_>]) -> io::Result<()> {
    let message: String = state.iter().map(|state| format!("{state}\n")).collect();
    let address = SocketAddr::from_abstract_name(name)?;
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

fn warn(error: &io::Error) {
    tracing::warn!(%error, "the service manager cannot be notified");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifies_a_socket_of_the_abstract_namespace() {
        let name = format!("ghostport-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        notify_abstract(name.as_bytes(), &[NotifyState::Ready, NotifyState::Status("x")]).unwrap();
        let mut message = [0; 64];
        let length = manager.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"READY=1\nSTATUS=x\n");
    }
}
