//! What signals ask of the agent.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// SIGHUP: read the configuration again.
    Reload,
    /// End.
    Stop(Stop),
}

/// How to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Name of the signal.
    pub reason: &'static str,
    /// Whether the hooks stay for an agent that follows at once, so that nothing is missed in
    /// between.
    pub hands_over: bool,
}

impl Stop {
    const fn for_good(reason: &'static str) -> Order {
        Order::Stop(Self { reason, hands_over: false })
    }
}

/// The signals that the agent obeys.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hand_over: Signal,
    hangup: Signal,
}

impl Signals {
    /// From here on these signals do not end the process any more.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hand_over: signal(SignalKind::user_defined2())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.terminate.recv() => Stop::for_good("SIGTERM"),
            _ = self.interrupt.recv() => Stop::for_good("SIGINT"),
            _ = self.hand_over.recv() => Order::Stop(Stop { reason: "SIGUSR2", hands_over: true }),
            _ = self.hangup.recv() => Order::Reload,
        }
    }
}
