//! Released ports, by trampoline on entry of the release: when it returns the socket no longer
//! exists.
//!
//! `int inet_release(struct socket *sock)`, `net/ipv4/af_inet.c`; `inet6_release` calls it.

use core::ffi::c_void;

use aya_ebpf::{EbpfContext, macros::fentry, programs::FEntryContext};
use monitor_common::socket_event::Mechanism;

use crate::{
    access::{Access, Typed},
    sock::{self, offset},
    socket_call::{may_hold_port, record_release},
};

/// Entry of `inet_release`.
#[fentry(function = "inet_release")]
fn close_fentry(context: FEntryContext) -> u32 {
    let socket: *const c_void = context.arg(0);
    on_release::<Typed, _>(&context, Mechanism::Fexit, socket);
    0
}

/// Records the release, unless the socket is the subflow of an MPTCP socket: some kernels release
/// subflows one by one, others with the MPTCP socket, whose release is recorded.
#[inline(always)]
pub(crate) fn on_release<A: Access, C: EbpfContext>(
    context: &C,
    mechanism: Mechanism,
    socket: *const c_void,
) {
    let is_own = |sk| sock::socket_of::<A>(sk).is_none_or(|owner| owner == socket);
    let sk = A::member(socket, offset!(socket_sk)).filter(|sk| may_hold_port::<A>(*sk));
    if let Some(sk) = sk.filter(|sk| is_own(*sk)) {
        record_release::<A, _>(context, mechanism, sk);
    }
}
