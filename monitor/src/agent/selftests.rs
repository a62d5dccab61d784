//! What the parts of the agent know of a selftest that runs.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use monitor_common::socket_record::Call;
use monitor_kernel::hooks::Hook;

use super::lock::lock;
use crate::event;

/// Time from the assignment until the mark ends.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// What the pipeline and the scanner know of selftests. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Selftests(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    run: Option<Run>,
    /// Where the last one was. A scan may have begun before its end.
    last: Option<SocketAddr>,
}

/// A selftest that has begun.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) at: SocketAddr,
    ends: Instant,
    reported: BTreeSet<Hook>,
    /// Its first call.
    pub(super) call: Option<event::Call>,
}

impl Selftests {
    /// Notes a call that has the mark.
    pub(super) fn record(&self, kind: Call, call: event::Call) {
        let hook = match kind {
            Call::Bind { .. } => Hook::Bind,
            Call::Listen => Hook::Listen,
            Call::Close => Hook::Close,
            Call::Connect => Hook::Connect,
        };
        if let Some(run) = &mut lock(&self.0).run {
            run.reported.insert(hook);
            run.call.get_or_insert(call);
        }
    }

    /// Whether a socket at this address is that of a selftest.
    pub(super) fn has(&self, address: SocketAddr) -> bool {
        let state = lock(&self.0);
        state.run.as_ref().is_some_and(|run| run.at == address) || state.last == Some(address)
    }

    /// Begins one, unless another has not ended.
    pub(super) fn begin(&self, at: SocketAddr) -> bool {
        let mut state = lock(&self.0);
        if state.run.as_ref().is_some_and(|run| Instant::now() < run.ends) {
            return false;
        }
        let ends = Instant::now() + LIMIT;
        state.run = Some(Run { at, ends, reported: BTreeSet::new(), call: None });
        true
    }

    /// The hooks that have reported a call of it.
    pub(super) fn reported(&self) -> BTreeSet<Hook> {
        lock(&self.0).run.as_ref().map(|run| run.reported.clone()).unwrap_or_default()
    }

    /// Ends it; `None` if none has begun.
    pub(super) fn end(&self) -> Option<Run> {
        let mut state = lock(&self.0);
        let run = state.run.take();
        state.last = run.as_ref().map(|run| run.at);
        run
    }
}
