//! Traffic in both directions by TC, on TCX or on a clsact qdisc.

use aya_ebpf::{macros::classifier, programs::TcContext};

use crate::{packet_entry::packet_program, packet_view::SkbView};

/// The next program decides. Both `TCX_NEXT` (`include/uapi/linux/bpf.h`) and `TC_ACT_UNSPEC`
/// (`include/uapi/linux/pkt_cls.h`).
const NEXT: i32 = -1;

packet_program! {
    /// For interfaces whose packets start with an Ethernet header.
    #[classifier]
    fn tc_ingress(TcContext) -> i32 = NEXT;
    type TcIngress = SkbView<true>, __sk_buff, Ingress;
}

packet_program! {
    /// For interfaces whose packets start with an IP header.
    #[classifier]
    fn tc_ingress_ip(TcContext) -> i32 = NEXT;
    type TcIngressIp = SkbView<false>, __sk_buff, Ingress;
}

packet_program! {
    /// For interfaces whose packets start with an Ethernet header.
    #[classifier]
    fn tc_egress(TcContext) -> i32 = NEXT;
    type TcEgress = SkbView<true>, __sk_buff, Egress;
}

packet_program! {
    /// For interfaces whose packets start with an IP header.
    #[classifier]
    fn tc_egress_ip(TcContext) -> i32 = NEXT;
    type TcEgressIp = SkbView<false>, __sk_buff, Egress;
}
