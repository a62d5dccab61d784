//! Evidence of what the holders of sockets execute.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    config::EvidenceLimits,
    process::{Identity, Inspector},
    sockets::Socket,
};

/// The longest that all looks at executables take together.
const LOOKS: Duration = Duration::from_secs(10);

/// Looks at what the holders of the sockets execute, each once.
pub(super) fn look_at_holders<'a>(
    sockets: impl IntoIterator<Item = &'a mut Socket>,
    limits: EvidenceLimits,
) {
    let inspector = Inspector::new(limits);
    let deadline = Instant::now() + LOOKS;
    // The sockets share the identities of their holders.
    let mut seen = HashMap::<*const Identity, Arc<Identity>>::new();
    let mut kept = Vec::new();
    for holder in sockets.into_iter().flat_map(|socket| &mut socket.holders) {
        let looked = seen.entry(Arc::as_ptr(holder)).or_insert_with(|| {
            let evidence = inspector.look_now(holder, deadline);
            Arc::new(Identity { evidence, ..Identity::clone(holder) })
        });
        // An address stands for an identity for as long as that is alive.
        kept.push(std::mem::replace(holder, Arc::clone(looked)));
    }
}
