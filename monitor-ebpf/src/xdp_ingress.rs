//! Ingress traffic by XDP, native in the driver or generic in the stack.
//!
//! Two programs with one body: a `frags` program (Linux 5.18) is accepted on interfaces whose MTU
//! exceeds a page, and is refused by older kernels.

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};

use crate::{
    packet_view::XdpView,
    traffic::{self, INGRESS},
};

/// For multi-buffer packets.
#[xdp(frags)]
fn xdp_ingress_frags(context: XdpContext) -> u32 {
    traffic::count::<_, INGRESS>(XdpView::<true>(context.ctx));
    xdp_action::XDP_PASS
}

/// For packets in one buffer.
#[xdp]
fn xdp_ingress(context: XdpContext) -> u32 {
    traffic::count::<_, INGRESS>(XdpView::<false>(context.ctx));
    xdp_action::XDP_PASS
}
