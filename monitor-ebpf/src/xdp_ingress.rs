//! Ingress traffic by XDP, native in the driver or generic in the stack.
//!
//! There are two programs: Linux 5.18 and later accept a `frags` program on interfaces whose MTU
//! exceeds a page; older kernels refuse it.

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};

use crate::{packet_entry::packet_program, packet_view::XdpView};

packet_program! {
    /// For packets in one buffer.
    #[xdp]
    fn xdp_ingress(XdpContext) -> u32 = xdp_action::XDP_PASS;
    type XdpIngress = XdpView<false>, xdp_md, Ingress;
}

packet_program! {
    /// For packets in several buffers.
    #[xdp(frags)]
    fn xdp_ingress_frags(XdpContext) -> u32 = xdp_action::XDP_PASS;
    type XdpIngressFrags = XdpView<true>, xdp_md, Ingress;
}
