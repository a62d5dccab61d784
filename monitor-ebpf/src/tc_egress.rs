//! Egress traffic by TC, on TCX or on a clsact qdisc.

use aya_ebpf::{macros::classifier, programs::TcContext};

use crate::{
    packet_view::SkbView,
    tc_ingress::NEXT,
    traffic::{self, EGRESS},
};

/// For interfaces whose packets start with an Ethernet header.
#[classifier]
fn tc_egress(context: TcContext) -> i32 {
    traffic::count::<_, EGRESS>(SkbView::<true>(context.skb.skb));
    NEXT
}

/// For interfaces whose packets start with an IP header.
#[classifier]
fn tc_egress_ip(context: TcContext) -> i32 {
    traffic::count::<_, EGRESS>(SkbView::<false>(context.skb.skb));
    NEXT
}
