//! Ingress traffic by TC, on TCX or on a clsact qdisc.

use aya_ebpf::{macros::classifier, programs::TcContext};
use monitor_common::{
    flow::Direction,
    packet::{parse_ethernet, parse_ip},
};

use crate::{
    packet_view::{SkbView, parse_skb},
    traffic,
};

/// "I have nothing to say": the next program decides. The value of both `TCX_NEXT` and
/// `TC_ACT_UNSPEC`, `include/uapi/linux/bpf.h` and `pkt_cls.h`.
pub(crate) const NEXT: i32 = -1;

/// For interfaces whose packets start with an Ethernet header.
#[classifier]
fn tc_ingress(context: TcContext) -> i32 {
    let parsed = parse_skb(&context, |skb| parse_ethernet(skb), |skb| parse_ethernet(skb));
    traffic::count(&SkbView { context: &context }, parsed, Direction::Ingress);
    NEXT
}

/// For interfaces whose packets start with an IP header.
#[classifier]
fn tc_ingress_ip(context: TcContext) -> i32 {
    let protocol = ethertype(&context);
    let parsed = parse_skb(&context, |skb| parse_ip(skb, protocol), |skb| parse_ip(skb, protocol));
    traffic::count(&SkbView { context: &context }, parsed, Direction::Ingress);
    NEXT
}

/// The protocol that the stack keeps beside a packet without a link layer.
#[inline(always)]
pub(crate) fn ethertype(context: &TcContext) -> u16 {
    // SAFETY: the context is the one the kernel passed in.
    u16::from_be(unsafe { (*context.skb.skb).protocol } as u16)
}
