//! The macro that declares a traffic program.
//!
//! The common packet takes the straight path of [`count`](crate::traffic::count): a plain parse and
//! a test of two bits. Everything rare is a call of a function that the verifier checks once (a
//! global function); it checks a static function again in every state of its caller, which makes
//! hundreds of thousands of instructions instead of ten. A global function takes a context and
//! numbers and returns a number. The functions are called one after the other, because the stack
//! holds few frames, and by name, because LLVM inlines what is called through a pointer.

/// Declares a traffic program: the type, its global functions, and its entry point, which returns
/// the same verdict for every packet.
macro_rules! packet_program {
    (
        $(#[$attribute:meta])*
        fn $name:ident($entry_context:ty) -> $verdict_type:ty = $verdict:expr;
        type $Program:ident = $view:ty, $context:ident, $direction:ident;
    ) => {
        /// The program, as a type.
        struct $Program;

        impl $crate::packet_program::PacketProgram for $Program {
            type View = $view;
            type Direction = $crate::packet_program::$direction;

            #[inline(always)]
            fn classify(packet: Self::View) -> monitor_common::packet::PackedSegment {
                monitor_common::packet::PackedSegment($name::classify(packet.0))
            }

            #[inline(always)]
            fn handle(packet: Self::View, segment: monitor_common::packet::PackedSegment) {
                $name::handle(packet.0, segment.0);
            }

            #[inline(always)]
            fn observe(packet: Self::View, segment: monitor_common::packet::PackedSegment) {
                $name::sample_if_new(packet.0, segment.0);
            }
        }

        /// The global functions; the kernel shows them by their exported names.
        mod $name {
            use aya_ebpf::bindings::$context;
            use monitor_common::{
                packet::PackedSegment,
                sample::{MAX_SAMPLES_OF_PACKET, Selected},
            };

            use super::$Program as Program;
            use $crate::{
                addresses, conversation, remote_flows,
                packet_program::PacketProgram,
                packet_view::PacketView as _,
                rare_traffic,
                sampling::{self, SampleRange},
                selftest,
                traffic,
            };

            type View = <Program as PacketProgram>::View;

            #[unsafe(export_name = concat!("classify_", stringify!($name)))]
            #[inline(never)]
            pub(super) extern "C" fn classify(context: *mut $context) -> u64 {
                let segment = traffic::classify::<Program>(context.into());
                if segment.rare_protocol().is_none() {
                    return segment.0;
                }
                count_rare(context, orient(context, segment.0));
                PackedSegment::NONE.0
            }

            #[unsafe(export_name = concat!("rare_", stringify!($name)))]
            #[inline(never)]
            extern "C" fn count_rare(context: *mut $context, segment: u64) -> u32 {
                let segment = PackedSegment(segment);
                if let Some(protocol) = segment.rare_protocol() {
                    rare_traffic::count::<Program>(context.into(), segment, protocol);
                }
                0
            }

            #[unsafe(export_name = concat!("orient_", stringify!($name)))]
            #[inline(never)]
            extern "C" fn orient(context: *mut $context, segment: u64) -> u64 {
                let segment = PackedSegment(segment);
                if selftest::takes::<Program>(context.into(), segment) {
                    return PackedSegment::NONE.0;
                }
                let orientation = addresses::orientation::<Program>(context.into(), segment);
                segment.with_orientation(orientation).0
            }

            #[unsafe(export_name = concat!("begin_", stringify!($name)))]
            #[inline(never)]
            extern "C" fn begin(context: *mut $context, segment: u64) -> u32 {
                let (packet, segment): (View, _) = (context.into(), PackedSegment(segment));
                if remote_flows::begins_flow::<Program>(packet, segment, segment.protocol()) {
                    traffic::count_begun_flow::<Program>(packet, segment);
                }
                0
            }

            #[unsafe(export_name = concat!("count_", stringify!($name)))]
            #[inline(never)]
            extern "C" fn count(context: *mut $context, segment: u64) -> u32 {
                let (packet, segment): (View, _) = (context.into(), PackedSegment(segment));
                let size = packet.wire_size(segment.headers_len());
                traffic::count_segment::<Program>(packet, segment, size);
                0
            }

            #[unsafe(export_name = concat!("observe_", stringify!($name)))]
            #[inline(never)]
            extern "C" fn observe(context: *mut $context, segment: u64) -> u64 {
                let (packet, segment): (View, _) = (context.into(), PackedSegment(segment));
                let size = packet.wire_size(segment.headers_len());
                conversation::observe::<Program>(packet, segment, size)
            }

            #[unsafe(export_name = concat!("track_", stringify!($name)))]
            #[inline(never)]
            extern "C" fn track_new_flow(context: *mut $context, segment: u64, flow: u64) -> u32 {
                let segment = PackedSegment(segment);
                conversation::track_new_flow::<Program>(context.into(), segment, flow)
                    .unwrap_or(Selected::NOTHING)
                    .0
            }

            #[unsafe(export_name = concat!("range_", stringify!($name)))]
            #[inline(never)]
            extern "C" fn sample_range(context: *mut $context, segment: u64, selected: u32) -> u64 {
                let packet: View = context.into();
                sampling::sample_range(packet, PackedSegment(segment), Selected(selected)).0
            }

            #[unsafe(export_name = concat!("samples_", stringify!($name)))]
            #[inline(never)]
            extern "C" fn samples(
                context: *mut $context,
                segment: u64,
                selected: u32,
                range: u64,
            ) -> u32 {
                let (selected, range) = (Selected(selected), SampleRange(range));
                for position in 0..MAX_SAMPLES_OF_PACKET {
                    if position >= selected.count() {
                        break;
                    }
                    sample(context, segment, selected.at(position).0, range.at(position).0);
                }
                0
            }

            #[unsafe(export_name = concat!("sample_", stringify!($name)))]
            #[inline(never)]
            extern "C" fn sample(
                context: *mut $context,
                segment: u64,
                selected: u32,
                range: u64,
            ) -> u32 {
                let (segment, range) = (PackedSegment(segment), SampleRange(range));
                let selected = Selected(selected);
                sampling::sample::<Program>(context.into(), segment, selected, range);
                0
            }

            #[inline(always)]
            pub(super) fn handle(context: *mut $context, segment: u64) {
                let segment = orient(context, segment);
                let packed = PackedSegment(segment);
                if packed == PackedSegment::NONE {
                    return;
                }
                count(context, segment);
                if remote_flows::is_remote_datagram::<Program>(context.into(), packed) {
                    begin(context, segment);
                }
                sample_if_new(context, segment);
            }

            #[inline(always)]
            pub(super) fn sample_if_new(context: *mut $context, segment: u64) {
                let flow = observe(context, segment);
                if flow == 0 {
                    return;
                }
                let selected = track_new_flow(context, segment, flow);
                if selected != Selected::NOTHING.0 {
                    let range = sample_range(context, segment, selected);
                    samples(context, segment, selected, range);
                }
            }
        }

        $(#[$attribute])*
        fn $name(context: $entry_context) -> $verdict_type {
            let context: *mut aya_ebpf::bindings::$context =
                aya_ebpf::EbpfContext::as_ptr(&context).cast();
            $crate::traffic::count::<$Program>(context.into());
            $verdict
        }
    };
}
pub(crate) use packet_program;
