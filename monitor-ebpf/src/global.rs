//! The steps that a packet takes, as functions of their own for each kind of packet and direction.
//!
//! They are global to the verifier, which walks a global function once, and a static one again for
//! every state in which it may be called: hundreds of thousands of instructions in all instead of
//! ten. So arguments are a context and numbers, and a number is returned. They are called one after
//! the other rather than one by the other, because the stack has room for so many frames; and by
//! name, because what is called by way of a pointer is inlined whatever it says.

use aya_ebpf::bindings::{__sk_buff, xdp_md};
use monitor_common::packet::PackedSegment;

use crate::{
    conversation::{self, Extent},
    packet_view::{PacketView, SkbView, XdpView},
    traffic::{self, EGRESS, INGRESS},
};

/// What [`conversation::observe`] says of a packet that is not to be sampled.
const NOTHING: u32 = 0;

macro_rules! steps {
    ($($classify:ident, $count:ident, $observe:ident, $measure:ident, $sample:ident:
        $view:ty, $context:ty, $direction:expr;)+) => {
        $(
            /// [`traffic::classify`] for this kind of packet.
            #[unsafe(no_mangle)]
            #[inline(never)]
            extern "C" fn $classify(context: *mut $context) -> u64 {
                traffic::classify::<$view, { $direction }>(context.into()).0
            }

            /// [`traffic::count_segment`] for this kind of packet.
            #[unsafe(no_mangle)]
            #[inline(never)]
            extern "C" fn $count(context: *mut $context, segment: u64) -> u32 {
                let segment = PackedSegment(segment);
                traffic::count_segment::<$view, { $direction }>(context.into(), segment);
                0
            }

            /// [`conversation::observe`] for this kind of packet.
            #[unsafe(no_mangle)]
            #[inline(never)]
            extern "C" fn $observe(context: *mut $context, segment: u64) -> u32 {
                let segment = PackedSegment(segment);
                match conversation::observe::<$view, { $direction }>(context.into(), segment) {
                    Some(kind) => kind as u32,
                    None => NOTHING,
                }
            }

            /// [`conversation::measure`] for this kind of packet.
            #[unsafe(no_mangle)]
            #[inline(never)]
            extern "C" fn $measure(context: *mut $context, segment: u64, kind: u32) -> u64 {
                let packet: $view = context.into();
                conversation::measure(packet, PackedSegment(segment), kind).0
            }

            /// [`conversation::sample`] for this kind of packet.
            #[unsafe(no_mangle)]
            #[inline(never)]
            extern "C" fn $sample(
                context: *mut $context,
                segment: u64,
                kind: u32,
                extent: u64,
            ) -> u32 {
                let packet: $view = context.into();
                let (segment, extent) = (PackedSegment(segment), Extent(extent));
                conversation::sample::<$view, { $direction }>(packet, segment, kind, extent);
                0
            }
        )+
    };
}

steps! {
    classify_xdp, count_xdp, observe_xdp, measure_xdp, sample_xdp:
        XdpView<false>, xdp_md, INGRESS;
    classify_xdp_frags, count_xdp_frags, observe_xdp_frags, measure_xdp_frags, sample_xdp_frags:
        XdpView<true>, xdp_md, INGRESS;
    classify_tc_ingress, count_tc_ingress, observe_tc_ingress, measure_tc_ingress, sample_tc_ingress:
        SkbView<true>, __sk_buff, INGRESS;
    classify_tc_ingress_ip, count_tc_ingress_ip, observe_tc_ingress_ip, measure_tc_ingress_ip, sample_tc_ingress_ip:
        SkbView<false>, __sk_buff, INGRESS;
    classify_tc_egress, count_tc_egress, observe_tc_egress, measure_tc_egress, sample_tc_egress:
        SkbView<true>, __sk_buff, EGRESS;
    classify_tc_egress_ip, count_tc_egress_ip, observe_tc_egress_ip, measure_tc_egress_ip, sample_tc_egress_ip:
        SkbView<false>, __sk_buff, EGRESS;
}

/// A packet that there are steps for.
pub(crate) trait Steps: PacketView {
    /// Finds out which segment is in a packet of whatever shape.
    fn classify<const DIRECTION: usize>(self) -> PackedSegment;

    /// Does everything that is done with a segment on a watched port.
    fn take<const DIRECTION: usize>(self, segment: PackedSegment);
}

macro_rules! take {
    ($context:expr, $segment:ident, $count:ident, $observe:ident, $measure:ident, $sample:ident) => {{
        $count($context, $segment.0);
        let kind = $observe($context, $segment.0);
        if kind != NOTHING {
            let extent = $measure($context, $segment.0, kind);
            $sample($context, $segment.0, kind, extent);
        }
    }};
}

impl<const FRAGMENTS: bool> Steps for XdpView<FRAGMENTS> {
    #[inline(always)]
    fn classify<const DIRECTION: usize>(self) -> PackedSegment {
        PackedSegment(if FRAGMENTS { classify_xdp_frags(self.0) } else { classify_xdp(self.0) })
    }

    #[inline(always)]
    fn take<const DIRECTION: usize>(self, segment: PackedSegment) {
        if FRAGMENTS {
            take!(
                self.0,
                segment,
                count_xdp_frags,
                observe_xdp_frags,
                measure_xdp_frags,
                sample_xdp_frags
            );
        } else {
            take!(self.0, segment, count_xdp, observe_xdp, measure_xdp, sample_xdp);
        }
    }
}

impl<const ETHERNET: bool> Steps for SkbView<ETHERNET> {
    #[inline(always)]
    fn classify<const DIRECTION: usize>(self) -> PackedSegment {
        PackedSegment(match (DIRECTION == INGRESS, ETHERNET) {
            (true, true) => classify_tc_ingress(self.0),
            (true, false) => classify_tc_ingress_ip(self.0),
            (false, true) => classify_tc_egress(self.0),
            (false, false) => classify_tc_egress_ip(self.0),
        })
    }

    #[inline(always)]
    fn take<const DIRECTION: usize>(self, segment: PackedSegment) {
        match (DIRECTION == INGRESS, ETHERNET) {
            (true, true) => {
                take!(
                    self.0,
                    segment,
                    count_tc_ingress,
                    observe_tc_ingress,
                    measure_tc_ingress,
                    sample_tc_ingress
                );
            }
            (true, false) => take!(
                self.0,
                segment,
                count_tc_ingress_ip,
                observe_tc_ingress_ip,
                measure_tc_ingress_ip,
                sample_tc_ingress_ip
            ),
            (false, true) => {
                take!(
                    self.0,
                    segment,
                    count_tc_egress,
                    observe_tc_egress,
                    measure_tc_egress,
                    sample_tc_egress
                );
            }
            (false, false) => take!(
                self.0,
                segment,
                count_tc_egress_ip,
                observe_tc_egress_ip,
                measure_tc_egress_ip,
                sample_tc_egress_ip
            ),
        }
    }
}
