//! Socket calls of UDP-Lite and SCTP, counted apart from the others.

use monitor_common::{
    errors::KernelError,
    rare::{RareKey, RareSocketCounters},
    socket_event::{BindResult, SocketEventKind},
};

use crate::{
    maps::{RARE_SOCKETS, add_atomic, count_error, entry},
    sock::Sock,
};

/// Counts a call on a watched port. A connect is not counted: the packets that follow it are.
#[inline(always)]
pub(crate) fn count(sock: &Sock, kind: SocketEventKind, errno: u32) {
    let key = RareKey::of_calls(sock.port, sock.protocol);
    let Some(counters) = entry(&RARE_SOCKETS, &key, RareSocketCounters::ZERO) else {
        return count_error(KernelError::RareFull);
    };
    // SAFETY: only addresses of members are taken.
    let counter = unsafe {
        match kind {
            SocketEventKind::Bind => {
                let result = BindResult::from_errno(errno);
                (&raw mut (*counters).binds).cast::<u64>().add(result as usize)
            }
            SocketEventKind::Listen => &raw mut (*counters).listens,
            SocketEventKind::Close => &raw mut (*counters).closes,
            SocketEventKind::Connect => return,
        }
    };
    add_atomic(counter, 1);
}
