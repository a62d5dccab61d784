//! A message on stderr while something slow is going on.

use std::{
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

/// Time before the message.
const DELAY: Duration = Duration::from_secs(1);

/// Prints its message once, if it lives longer than [`DELAY`].
#[must_use = "it is over when it is dropped"]
pub(crate) struct Progress {
    /// Wakes the thread when it is dropped.
    _alive: Option<Sender<()>>,
}

impl Progress {
    /// Starts the delay, unless the user wants no such message. Without a thread to wait for it there is
    /// none either.
    pub(crate) fn start(what: &'static str, quiet: bool) -> Self {
        if quiet {
            return Self { _alive: None };
        }
        let (alive, ended) = channel();
        let wait = move || {
            if ended.recv_timeout(DELAY) == Err(RecvTimeoutError::Timeout) {
                eprintln!("ghostport: {what} …");
            }
        };
        let thread = thread::Builder::new().name("progress".into()).spawn(wait);
        Self { _alive: thread.is_ok().then_some(alive) }
    }
}
