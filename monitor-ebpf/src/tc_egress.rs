//! Egress traffic by TC, on TCX or on a clsact qdisc.

use aya_ebpf::{macros::classifier, programs::TcContext};
use monitor_common::{
    flow::Direction,
    packet::{parse_ethernet, parse_ip},
};

use crate::{
    packet_view::{SkbView, parse_skb},
    tc_ingress::{NEXT, ethertype},
    traffic,
};

/// For interfaces whose packets start with an Ethernet header.
#[classifier]
fn tc_egress(context: TcContext) -> i32 {
    let parsed = parse_skb(&context, |skb| parse_ethernet(skb), |skb| parse_ethernet(skb));
    traffic::count(&SkbView { context: &context }, parsed, Direction::Egress);
    NEXT
}

/// For interfaces whose packets start with an IP header.
#[classifier]
fn tc_egress_ip(context: TcContext) -> i32 {
    let protocol = ethertype(&context);
    let parsed = parse_skb(&context, |skb| parse_ip(skb, protocol), |skb| parse_ip(skb, protocol));
    traffic::count(&SkbView { context: &context }, parsed, Direction::Egress);
    NEXT
}
