//! Ingress traffic by XDP, native in the driver or generic in the stack.
//!
//! Two programs with one body: a `frags` program (Linux 5.18) is accepted on interfaces whose MTU
//! exceeds a page, and is refused by older kernels.

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use monitor_common::{flow::Direction, packet::parse_ethernet};

use crate::{packet_view::XdpView, traffic};

/// For multi-buffer packets.
#[xdp(frags)]
fn xdp_ingress_frags(context: XdpContext) -> u32 {
    on_packet(&context, true)
}

/// For packets in one buffer.
#[xdp]
fn xdp_ingress(context: XdpContext) -> u32 {
    on_packet(&context, false)
}

#[inline(always)]
fn on_packet(context: &XdpContext, fragments: bool) -> u32 {
    let packet = XdpView { context, fragments };
    traffic::count(&packet, parse_ethernet(&packet), Direction::Ingress);
    xdp_action::XDP_PASS
}
