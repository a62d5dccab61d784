//! The steps that a packet takes, as functions of their own for each kind of packet and direction.
//!
//! They are global to the verifier, which walks a global function once, and a static one again for
//! every state in which it may be called: hundreds of thousands of instructions in all instead of
//! ten. So arguments are a context and numbers, and a number is returned. They are called one after
//! the other rather than one by the other, because the stack has room for so many frames; and by
//! name, because what is called by way of a pointer is inlined whatever it says.

use monitor_common::packet::PackedSegment;

use crate::{
    packet_view::{PacketView, SkbView, XdpView},
    traffic::INGRESS,
};

/// A packet that there are steps for.
pub(crate) trait Steps: PacketView {
    /// Finds out which segment is in a packet of whatever shape.
    fn classify<const DIRECTION: usize>(self) -> PackedSegment;

    /// Does everything that is done with a segment on a watched port.
    fn take<const DIRECTION: usize>(self, segment: PackedSegment);
}

/// A module with the steps of one kind of packet; the functions are called by its name to the
/// kernel.
macro_rules! steps {
    ($module:ident, $view:ident<$flag:literal>, $context:ident, $direction:ident) => {
        mod $module {
            use aya_ebpf::bindings::$context;
            use monitor_common::packet::PackedSegment;

            use crate::{
                conversation::{self, Extent},
                packet_view::{PacketView as _, $view},
                traffic::{self, $direction},
            };

            type Packet = $view<$flag>;

            /// What [`meet`] says of a packet that is not to be sampled.
            const NOTHING: u32 = 0;

            #[unsafe(export_name = concat!("classify_", stringify!($module)))]
            #[inline(never)]
            pub(super) extern "C" fn classify(context: *mut $context) -> u64 {
                let packet: Packet = context.into();
                traffic::classify::<Packet, { $direction }>(packet).0
            }

            #[unsafe(export_name = concat!("observe_", stringify!($module)))]
            #[inline(never)]
            extern "C" fn observe(context: *mut $context, segment: u64) -> u64 {
                let (packet, segment): (Packet, _) = (context.into(), PackedSegment(segment));
                let size = packet.wire_size(segment.headers_len());
                traffic::count_segment::<Packet, { $direction }>(packet, segment, size);
                conversation::observe::<Packet, { $direction }>(packet, segment, size)
            }

            #[unsafe(export_name = concat!("meet_", stringify!($module)))]
            #[inline(never)]
            extern "C" fn meet(context: *mut $context, segment: u64, flow: u64) -> u32 {
                let packet: Packet = context.into();
                let segment = PackedSegment(segment);
                match conversation::meet::<Packet, { $direction }>(packet, segment, flow) {
                    Some(kind) => kind as u32,
                    None => NOTHING,
                }
            }

            #[unsafe(export_name = concat!("measure_", stringify!($module)))]
            #[inline(never)]
            extern "C" fn measure(context: *mut $context, segment: u64, kind: u32) -> u64 {
                let packet: Packet = context.into();
                conversation::measure(packet, PackedSegment(segment), kind).0
            }

            #[unsafe(export_name = concat!("sample_", stringify!($module)))]
            #[inline(never)]
            extern "C" fn sample(
                context: *mut $context,
                segment: u64,
                kind: u32,
                extent: u64,
            ) -> u32 {
                let packet: Packet = context.into();
                let (segment, extent) = (PackedSegment(segment), Extent(extent));
                conversation::sample::<Packet, { $direction }>(packet, segment, kind, extent);
                0
            }

            #[inline(always)]
            pub(super) fn take(context: *mut $context, segment: u64) {
                let flow = observe(context, segment);
                if flow == 0 {
                    return;
                }
                let kind = meet(context, segment, flow);
                if kind != NOTHING {
                    let extent = measure(context, segment, kind);
                    sample(context, segment, kind, extent);
                }
            }
        }
    };
}

steps!(xdp, XdpView<false>, xdp_md, INGRESS);
steps!(xdp_frags, XdpView<true>, xdp_md, INGRESS);
steps!(tc_ingress, SkbView<true>, __sk_buff, INGRESS);
steps!(tc_ingress_ip, SkbView<false>, __sk_buff, INGRESS);
steps!(tc_egress, SkbView<true>, __sk_buff, EGRESS);
steps!(tc_egress_ip, SkbView<false>, __sk_buff, EGRESS);

impl<const FRAGMENTS: bool> Steps for XdpView<FRAGMENTS> {
    #[inline(always)]
    fn classify<const DIRECTION: usize>(self) -> PackedSegment {
        let context = self.0;
        PackedSegment(if FRAGMENTS { xdp_frags::classify(context) } else { xdp::classify(context) })
    }

    #[inline(always)]
    fn take<const DIRECTION: usize>(self, segment: PackedSegment) {
        if FRAGMENTS { xdp_frags::take(self.0, segment.0) } else { xdp::take(self.0, segment.0) }
    }
}

impl<const ETHERNET: bool> Steps for SkbView<ETHERNET> {
    #[inline(always)]
    fn classify<const DIRECTION: usize>(self) -> PackedSegment {
        PackedSegment(match (DIRECTION == INGRESS, ETHERNET) {
            (true, true) => tc_ingress::classify(self.0),
            (true, false) => tc_ingress_ip::classify(self.0),
            (false, true) => tc_egress::classify(self.0),
            (false, false) => tc_egress_ip::classify(self.0),
        })
    }

    #[inline(always)]
    fn take<const DIRECTION: usize>(self, segment: PackedSegment) {
        match (DIRECTION == INGRESS, ETHERNET) {
            (true, true) => tc_ingress::take(self.0, segment.0),
            (true, false) => tc_ingress_ip::take(self.0, segment.0),
            (false, true) => tc_egress::take(self.0, segment.0),
            (false, false) => tc_egress_ip::take(self.0, segment.0),
        }
    }
}
