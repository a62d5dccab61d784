//! Samples: the limits on them, and copying part of a packet into the ring buffer.

use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns};
use monitor_common::{
    flow::Protocol,
    packet::PackedSegment,
    sample::{FLIGHT_LEN, SAMPLE_LEN, Sample, SampleKind, Selected, SkipCause},
    sampling::{AddressWords, Budget, more_continuations, one_more, source_index},
};

use crate::{
    counter::add,
    maps::{
        RECENT_SOURCES, SAMPLES, SAMPLING, SKIPPED_SAMPLES, add_atomic, is_nearly_full, wakeup,
    },
    network::Network,
    packet_program::{FlowDirection, PacketProgram},
    packet_view::{PacketView, least},
};

/// The part of a packet to sample, in one register.
#[derive(Clone, Copy)]
pub(crate) struct SampleRange(pub(crate) u64);

impl SampleRange {
    /// `wanted` bytes from the offset `from` on, of a payload of `wire_len`.
    #[inline(always)]
    const fn of(from: u32, wanted: u32, wire_len: u32) -> Self {
        let wanted = least(wanted, FLIGHT_LEN as u32);
        Self(wire_len as u64 | (from as u64 & 0x7fff) << 32 | (wanted as u64) << 48)
    }

    /// The part of the sample at this position among those of a packet.
    #[inline(always)]
    pub(crate) const fn at(self, position: u32) -> Self {
        let before = position * SAMPLE_LEN as u32;
        let (wanted, wire_len) = (self.wanted(), self.wire_len());
        Self::of(
            self.from() + before,
            wanted.saturating_sub(before),
            wire_len.saturating_sub(before),
        )
    }

    #[inline(always)]
    const fn wire_len(self) -> u32 {
        self.0 as u32
    }

    #[inline(always)]
    const fn from(self) -> u32 {
        (self.0 >> 32 & 0x7fff) as u32
    }

    #[inline(always)]
    const fn wanted(self) -> u32 {
        (self.0 >> 48) as u32
    }
}

/// Determines the part of a packet to sample.
#[inline(always)]
pub(crate) fn sample_range<V: PacketView>(
    packet: V,
    segment: PackedSegment,
    selected: Selected,
) -> SampleRange {
    let Some(network) = Network::read(packet, segment.network()) else {
        return SampleRange::of(0, 0, 0);
    };
    let headers = segment.headers_len();
    let payload_len = network.payload_len(packet, headers);
    let wire_len = match segment.protocol() {
        Protocol::Tcp => payload_len,
        _ => datagram_len(packet, segment.offset()).unwrap_or(payload_len),
    };
    if selected.is(SampleKind::Payload) || selected.is(SampleKind::Continuation) {
        SampleRange::of(headers, least(payload_len, wire_len), wire_len)
    } else if selected.is(SampleKind::ConnectionAttempt) || selected.is(SampleKind::Stray) {
        SampleRange::of(segment.network(), headers - segment.network(), wire_len)
    } else {
        SampleRange::of(headers, 0, wire_len)
    }
}

/// Copies part of a packet into the ring buffer. The bytes go first: the verifier would walk the copy
/// once for every state of the values that are known before it.
#[inline(always)]
pub(crate) fn sample<P: PacketProgram>(
    packet: P::View,
    segment: PackedSegment,
    selected: Selected,
    range: SampleRange,
) {
    let Some(mut entry) = SAMPLES.reserve(0) else {
        return skip(SkipCause::RingFull);
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the entry is of this type; only an address is taken.
    let room = unsafe { &raw mut (*record).bytes };
    let captured = packet.copy_to(range.from(), range.wanted(), room);
    let network = Network::read(packet, segment.network());
    let Some(network) = network.filter(|_| captured > 0 || range.wanted() == 0) else {
        entry.discard(0);
        return skip(SkipCause::Unreadable);
    };
    let head = SampleHead {
        // SAFETY: the helper takes no arguments.
        time_ns: unsafe { bpf_ktime_get_boot_ns() },
        source: network.source,
        destination: network.destination,
        interface: packet.interface(),
        wire_len: range.wire_len(),
        source_port: segment.source().number(),
        destination_port: segment.destination().number(),
        captured: captured as u16,
        offset: selected.offset(),
        kind: selected.kind(),
        protocol: segment.protocol() as u8,
        direction: P::Direction::VALUE as u8,
        family: network.family,
        orientation: segment.orientation() as u8,
        reserved: [0; 3],
    };
    // SAFETY: a sample begins with these fields in this order, and the entry has room for it.
    unsafe { record.cast::<SampleHead>().write(head) };
    entry.submit(wakeup(&SAMPLES, size_of::<Sample>()));
}

/// A [`Sample`] without its bytes, which go into the ring buffer directly.
#[repr(C)]
struct SampleHead {
    time_ns: u64,
    source: AddressWords,
    destination: AddressWords,
    interface: u32,
    wire_len: u32,
    source_port: u16,
    destination_port: u16,
    captured: u16,
    offset: u16,
    kind: u8,
    protocol: u8,
    direction: u8,
    family: u8,
    orientation: u8,
    reserved: [u8; 3],
}
const _: () = assert!(size_of::<SampleHead>() + SAMPLE_LEN == size_of::<Sample>());

/// Payload length by the header of a datagram, RFC 768: of a fragmented datagram the length of the
/// whole. `None` for a jumbogram, RFC 2675 §4.
#[inline(always)]
fn datagram_len<V: PacketView>(packet: V, transport: u32) -> Option<u32> {
    let [len]: [u16; 1] = packet.copied(transport + 4)?;
    u32::from(u16::from_be(len)).checked_sub(8)
}

/// Of the samples that were selected, those that the limits allow, which then count against them. The
/// first sample of a conversation counts against the limit of its source and that of all, what follows
/// it against others.
#[inline(always)]
pub(crate) fn within_limits(
    selected: Selected,
    protocol: Protocol,
    source: u64,
    window: u32,
) -> Selected {
    let Some(slot) = RECENT_SOURCES.get_ptr_mut(source_index(source)) else {
        return Selected::NOTHING;
    };
    let mut continuations = selected.count();
    if !selected.is(SampleKind::Continuation) {
        if !is_first_allowed(selected, protocol, slot, source, window) {
            return Selected::NOTHING;
        }
        continuations -= 1;
    }
    if continuations == 0 || are_more_allowed(continuations, slot, source, window) {
        selected
    } else if selected.is(SampleKind::Continuation) {
        Selected::NOTHING
    } else {
        selected.first()
    }
}

#[inline(always)]
fn is_first_allowed(
    selected: Selected,
    protocol: Protocol,
    slot: *mut u64,
    source: u64,
    window: u32,
) -> bool {
    let follows_handshake = selected.is(SampleKind::Payload) || selected.is(SampleKind::Handshake);
    let budget = if follows_handshake && matches!(protocol, Protocol::Tcp) {
        Budget::Connections
    } else {
        Budget::Unverified
    };
    let budget = budget_of(budget);
    // SAFETY: an aligned word, which is added to atomically; a word of a source is read and written
    // whole.
    unsafe {
        if budget.read_volatile() <= 0 {
            skip(SkipCause::TotalLimit);
            return false;
        }
        let Some(word) = one_more(slot.read_volatile(), source, window) else {
            skip(SkipCause::SourceLimit);
            return false;
        };
        slot.write_volatile(word);
        add_atomic(budget.cast(), (-1_i64) as u64);
    }
    true
}

/// Whether so many samples of what follows are allowed. They leave a quarter of the ring to first ones.
#[inline(always)]
fn are_more_allowed(count: u32, slot: *mut u64, source: u64, window: u32) -> bool {
    let budget = budget_of(Budget::Continuations);
    // SAFETY: as in `is_first_allowed`.
    unsafe {
        if budget.read_volatile() < i64::from(count) {
            skip(SkipCause::TotalLimit);
            return false;
        }
        let Some(word) = more_continuations(slot.read_volatile(), source, window, count) else {
            skip(SkipCause::SourceLimit);
            return false;
        };
        if is_nearly_full(&SAMPLES) {
            skip(SkipCause::RingFull);
            return false;
        }
        slot.write_volatile(word);
        add_atomic(budget.cast(), i64::from(count).wrapping_neg() as u64);
    }
    true
}

#[inline(always)]
fn budget_of(budget: Budget) -> *mut i64 {
    let control = SAMPLING.get().cast_mut();
    // SAFETY: the index is within the array; only an address is taken.
    unsafe { (&raw mut (*control).budgets).cast::<i64>().add(budget as usize) }
}

/// Counts a sample that is not taken.
#[inline(always)]
fn skip(cause: SkipCause) {
    // SAFETY: the helper takes no arguments. A program stays on its CPU while it runs.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    if let Some(counters) = SKIPPED_SAMPLES.get_ptr_mut(cpu) {
        // SAFETY: the index is within, and only this CPU writes.
        unsafe { add(&raw mut (*counters)[cause as usize], 1) };
    }
}
