//! Ingress traffic by TC, on TCX or on a clsact qdisc.

use aya_ebpf::{macros::classifier, programs::TcContext};

use crate::{
    packet_view::SkbView,
    traffic::{self, INGRESS},
};

/// "I have nothing to say": the next program decides. The value of both `TCX_NEXT` and
/// `TC_ACT_UNSPEC`, `include/uapi/linux/bpf.h` and `pkt_cls.h`.
pub(crate) const NEXT: i32 = -1;

/// For interfaces whose packets start with an Ethernet header.
#[classifier]
fn tc_ingress(context: TcContext) -> i32 {
    traffic::count::<_, INGRESS>(SkbView::<true>(context.skb.skb));
    NEXT
}

/// For interfaces whose packets start with an IP header.
#[classifier]
fn tc_ingress_ip(context: TcContext) -> i32 {
    traffic::count::<_, INGRESS>(SkbView::<false>(context.skb.skb));
    NEXT
}
