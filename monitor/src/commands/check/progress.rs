//! A word on stderr for who waits.

use std::{
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

/// What takes no longer than this needs no explanation.
const SILENCE: Duration = Duration::from_secs(1);

/// Says what takes long, for as long as this lives.
pub(super) struct Progress {
    /// Its end tells the thread.
    _alive: Option<Sender<()>>,
}

impl Progress {
    /// Says so after a second. Where there is no thread to be had, the work goes on in silence.
    pub(super) fn start(what: &'static str) -> Self {
        let (alive, ended) = channel();
        let wait = move || {
            if ended.recv_timeout(SILENCE) == Err(RecvTimeoutError::Timeout) {
                eprintln!("ghostport: {what} …");
            }
        };
        let thread = thread::Builder::new().name("progress".into()).spawn(wait);
        Self { _alive: thread.is_ok().then_some(alive) }
    }
}
