//! Socket calls of UDP-Lite and SCTP, counted apart from the others.

use aya_ebpf::bindings::BPF_NOEXIST;
use monitor_common::{
    errors::KernelError,
    rare::{RareKey, RareSocketCounters},
    socket_event::{BindResult, SocketEventKind},
};

use crate::{
    maps::{RARE_SOCKETS, add_atomic, count_error},
    sock::Sock,
};

/// Counts a call on a watched port.
#[inline(always)]
pub(crate) fn count(sock: &Sock, kind: SocketEventKind, errno: u32) {
    let key = RareKey::of_calls(sock.port, sock.protocol);
    let Some(counters) = counters_of(&key) else { return count_error(KernelError::RareFull) };
    // SAFETY: only addresses of members are taken.
    let counter = unsafe {
        match kind {
            SocketEventKind::Bind => {
                let result = BindResult::from_errno(errno);
                (&raw mut (*counters).binds).cast::<u64>().add(result as usize)
            }
            SocketEventKind::Listen => &raw mut (*counters).listens,
            SocketEventKind::Close => &raw mut (*counters).closes,
        }
    };
    add_atomic(counter, 1);
}

/// The counters of a key, which are created at its first call; `None` if there is no room.
#[inline(always)]
fn counters_of(key: &RareKey) -> Option<*mut RareSocketCounters> {
    if let Some(counters) = RARE_SOCKETS.get_ptr_mut(key) {
        return Some(counters);
    }
    // Another CPU may create them at the same time: then this one fails and finds those.
    let _ = RARE_SOCKETS.insert(key, RareSocketCounters::ZERO, BPF_NOEXIST.into());
    RARE_SOCKETS.get_ptr_mut(key)
}
