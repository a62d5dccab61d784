//! What is done with a packet on a watched port when it has been counted: its remote address is
//! noted, and the first payload of a new conversation is sampled.
//!
//! Nothing here is waited for, and nothing that goes wrong here changes a count.

use aya_ebpf::helpers::generated::{
    bpf_get_prandom_u32, bpf_get_smp_processor_id, bpf_ktime_get_boot_ns,
};
use monitor_common::{
    flow::{Direction, Protocol, Side},
    limits::TALKER_WAYS,
    packet::PackedSegment,
    ports::WirePort,
    sample::{SAMPLE_LEN, Sample, SampleKind, SkipCause},
    sampling::{
        AddressWords, Budget, FlowKeys, acknowledged, awaiting, conversation_index, hash_address,
        is_free, is_settled, merged, one_more, settled, source_index, was_settled,
    },
    sources::{
        REGISTERS, Talker, first_row, is_admitted, raised, register_of, sketch_index, talker_key,
    },
};

use crate::{
    maps::{
        CONVERSATIONS, RECENT_SOURCES, SAMPLES, SAMPLING, SKIPPED_SAMPLES, SOURCES, TALKERS,
        add_atomic, index_of, wakeup,
    },
    packet_view::{PacketView, WireSize, least},
    traffic::INGRESS,
};

/// Notes who a packet on a watched port comes from or goes to, and looks at what is known of its
/// flow. Returns the flow's hash if there is more to find out, or 0.
#[inline(always)]
pub(crate) fn observe<P: PacketView, const DIRECTION: usize>(
    packet: P,
    segment: PackedSegment,
    size: WireSize,
) -> u64 {
    let Some(control) = Control::read() else { return 0 };
    let Some(network) = Network::read(packet, segment.network()) else { return 0 };
    let source = control.keys.address(network.source);
    let destination = control.keys.address(network.destination);
    let remote_sum = remote::<DIRECTION, _>(source, destination);
    let remote = remote::<DIRECTION, _>(network.source, network.destination);
    let protocol = segment.protocol();
    let key = talker_key(watched_port::<DIRECTION>(segment), protocol, network.family);
    note_talker::<DIRECTION>(remote, remote_sum, key, control.window, size);

    let flow = control.keys.flow(source, destination, segment.ports(), protocol as u32);
    let Some(slot) = CONVERSATIONS.get_ptr_mut(conversation_index(flow)) else { return 0 };
    // SAFETY: a word is read and written whole.
    let word = unsafe { slot.read_volatile() };
    if is_settled(word, flow, control.window, DIRECTION) && !segment.is_syn() { 0 } else { flow }
}

/// Notes a flow that is not settled, and the remote address it has. Returns what the packet is to be
/// sampled as.
#[inline(always)]
pub(crate) fn meet<P: PacketView, const DIRECTION: usize>(
    packet: P,
    segment: PackedSegment,
    flow: u64,
) -> Option<SampleKind> {
    let control = Control::read()?;
    let network = Network::read(packet, segment.network())?;
    let remote = remote::<DIRECTION, _>(network.source, network.destination);
    let remote_hash = hash_address(remote, control.seed);
    let protocol = segment.protocol();
    let port = watched_port::<DIRECTION>(segment);
    let index = index_of(port)?;
    note_source(sketch_index(index, protocol, control.window), remote_hash);

    let slot = CONVERSATIONS.get_ptr_mut(conversation_index(flow))?;
    let now = settled(flow, control.window, DIRECTION);
    let kind = match protocol {
        Protocol::Tcp => {
            let payload_len = network.payload_len(packet, segment.headers_len());
            tcp_sample::<P, DIRECTION>(packet, segment, flow, payload_len, slot, now)
        }
        Protocol::Udp => udp_sample(flow, slot, now),
    }?;
    let source = remote_hash ^ u64::from(port.0).rotate_right(20);
    is_within_limits(kind, protocol, source, control.window).then_some(kind)
}

/// What userspace wants, while it wants anything.
struct Control {
    window: u32,
    seed: u64,
    keys: FlowKeys,
}

impl Control {
    #[inline(always)]
    fn read() -> Option<Self> {
        let control = SAMPLING.get_ptr_mut(0)?;
        // SAFETY: the value is of this type; userspace and other CPUs write single aligned words.
        let (window, seed, keys) = unsafe {
            (
                (&raw const (*control).window).read_volatile(),
                (&raw const (*control).seed).read_volatile(),
                (&raw const (*control).keys).read_volatile(),
            )
        };
        (window != 0).then_some(Self { window, seed, keys })
    }
}

/// Of what belongs to the source and to the destination, that of the other host.
#[inline(always)]
fn remote<const DIRECTION: usize, T>(source: T, destination: T) -> T {
    match Direction::ALL[DIRECTION] {
        Direction::Ingress => source,
        Direction::Egress => destination,
    }
}

/// The watched port that a packet is noted for: this host's, if both are watched.
#[inline(always)]
fn watched_port<const DIRECTION: usize>(segment: PackedSegment) -> WirePort {
    let is_source = match Direction::ALL[DIRECTION].side_of_source() {
        Side::Local => segment.source_is_watched(),
        Side::Remote => !segment.destination_is_watched(),
    };
    if is_source { segment.source() } else { segment.destination() }
}

/// What of a packet is to be sampled, in one register.
#[derive(Clone, Copy)]
pub(crate) struct Extent(pub(crate) u64);

impl Extent {
    /// `wanted` bytes from the offset `from` on, of a payload of `wire_len`.
    #[inline(always)]
    const fn of(from: u32, wanted: u32, wire_len: u32) -> Self {
        let wanted = least(wanted, SAMPLE_LEN as u32);
        Self(wire_len as u64 | (from as u64 & 0x7fff) << 32 | (wanted as u64) << 48)
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

/// Finds out what of a packet is to be sampled.
#[inline(always)]
pub(crate) fn measure<P: PacketView>(packet: P, segment: PackedSegment, kind: u32) -> Extent {
    let Some(network) = Network::read(packet, segment.network()) else {
        return Extent::of(0, 0, 0);
    };
    let headers = segment.headers_len();
    let payload_len = network.payload_len(packet, headers);
    let wire_len = match segment.protocol() {
        Protocol::Tcp => payload_len,
        Protocol::Udp => datagram_len(packet, segment.offset()).unwrap_or(payload_len),
    };
    if kind == SampleKind::Payload as u32 {
        Extent::of(headers, least(payload_len, wire_len), wire_len)
    } else if kind == SampleKind::ConnectionAttempt as u32 {
        Extent::of(segment.network(), headers - segment.network(), wire_len)
    } else {
        Extent::of(headers, 0, wire_len)
    }
}

/// Copies what is to be told of a packet into the ring buffer. Bytes first: what is known before is
/// walked by the verifier once more for every word.
#[inline(always)]
pub(crate) fn sample<P: PacketView, const DIRECTION: usize>(
    packet: P,
    segment: PackedSegment,
    kind: u32,
    extent: Extent,
) {
    let Some(mut entry) = SAMPLES.reserve(0) else {
        return skip(SkipCause::RingFull);
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the entry is of this type; only an address is taken.
    let room = unsafe { &raw mut (*record).bytes };
    let captured = packet.copy_to(extent.from(), extent.wanted(), room);
    let network = Network::read(packet, segment.network());
    let Some(network) = network.filter(|_| captured > 0 || extent.wanted() == 0) else {
        entry.discard(0);
        return skip(SkipCause::Unreadable);
    };
    let head = SampleHead {
        // SAFETY: the helper takes no arguments.
        time_ns: unsafe { bpf_ktime_get_boot_ns() },
        source: network.source,
        destination: network.destination,
        interface: packet.interface(),
        wire_len: extent.wire_len(),
        source_port: segment.source().number(),
        destination_port: segment.destination().number(),
        captured: captured as u16,
        kind: kind as u8,
        protocol: segment.protocol() as u8,
        direction: DIRECTION as u8,
        family: network.family,
        reserved: [0; 6],
    };
    // SAFETY: a sample begins with these fields in this order, and the entry has room for it.
    unsafe { record.cast::<SampleHead>().write(head) };
    entry.submit(wakeup(&SAMPLES, size_of::<Sample>()));
}

/// A [`Sample`] without its bytes, which are not to be copied twice.
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
    kind: u8,
    protocol: u8,
    direction: u8,
    family: u8,
    reserved: [u8; 6],
}
const _: () = assert!(size_of::<SampleHead>() + SAMPLE_LEN == size_of::<Sample>());

/// What is needed of an IP header.
struct Network {
    source: AddressWords,
    destination: AddressWords,
    /// Length of the packet from the IP header on, or 0 where the header does not say.
    len: u32,
    offset: u32,
    family: u8,
}

impl Network {
    const IPV6_LEN: u32 = 40;

    #[inline(always)]
    fn read<P: PacketView>(packet: P, offset: u32) -> Option<Self> {
        let words: [u16; 10] = packet.copied(offset)?;
        let len = u32::from(u16::from_be(words[1]));
        if words[0].to_ne_bytes()[0] >> 4 == 4 {
            let source = [u64::from(double(words[6], words[7])), 0];
            let destination = [u64::from(double(words[8], words[9])), 0];
            return Some(Self { source, destination, len, offset, family: 4 });
        }
        let payload_len = u32::from(u16::from_be(words[2]));
        let len = if payload_len == 0 { 0 } else { payload_len + Self::IPV6_LEN };
        let words: [u16; 16] = packet.copied(offset + 8)?;
        let quad = |first: usize| {
            u64::from(double(words[first], words[first + 1]))
                | u64::from(double(words[first + 2], words[first + 3])) << 32
        };
        let (source, destination) = ([quad(0), quad(4)], [quad(8), quad(12)]);
        Some(Self { source, destination, len, offset, family: 6 })
    }

    /// Bytes behind the transport header; those of a packet whose IP header does not say are those
    /// that there are.
    #[inline(always)]
    fn payload_len<P: PacketView>(&self, packet: P, headers: u32) -> u32 {
        let end = if self.len == 0 { packet.len() } else { self.offset + self.len };
        end.saturating_sub(headers)
    }
}

/// Two words as one, in the order of memory.
#[inline(always)]
const fn double(first: u16, second: u16) -> u32 {
    if cfg!(target_endian = "little") {
        first as u32 | (second as u32) << 16
    } else {
        (first as u32) << 16 | second as u32
    }
}

/// Shows the sketch of a port a remote address.
#[inline(always)]
fn note_source(sketch: u32, hash: u64) {
    const _: () = assert!(REGISTERS.is_power_of_two());
    // Ports beyond those that have sketches.
    let Some(sketch) = SOURCES.get_ptr_mut(sketch) else { return };
    // SAFETY: the register is within the sketch. CPUs may overwrite each other's; the estimate
    // bears it.
    unsafe {
        let register = sketch.cast::<u8>().add(register_of(hash));
        if let Some(value) = raised(register.read_volatile(), hash) {
            register.write_volatile(value);
        }
    }
}

/// Counts for a remote address, if it is among the most talkative of this CPU or becomes one.
#[inline(always)]
fn note_talker<const DIRECTION: usize>(
    address: AddressWords,
    sum: u64,
    key: u32,
    window: u32,
    size: WireSize,
) {
    const _: () = assert!(TALKER_WAYS == 2);
    // SAFETY: the helper takes no arguments. A program stays on its CPU while it runs.
    let row = first_row(unsafe { bpf_get_smp_processor_id() }, sum, key);
    let Some(one) = TALKERS.get_ptr_mut(row) else { return };
    // SAFETY: rows that only this CPU writes; userspace reads single aligned words.
    let one = unsafe { &mut *one };
    if one.is(address, key) {
        return one.add(DIRECTION, size.packets, size.bytes, window);
    }
    let Some(other) = TALKERS.get_ptr_mut(row + 1) else { return };
    // SAFETY: as above.
    let other = unsafe { &mut *other };
    if other.is(address, key) {
        return other.add(DIRECTION, size.packets, size.bytes, window);
    }
    let (price, price_of_other) = (one.price(window), other.price(window));
    let (price, row) = if price <= price_of_other { (price, one) } else { (price_of_other, other) };
    // SAFETY: the helper takes no arguments.
    if price > 0 && !is_admitted(unsafe { bpf_get_prandom_u32() } as u32, price) {
        return;
    }
    *row = Talker {
        address,
        packets: [0; 2],
        bytes: [0; 2],
        weight: price,
        key,
        first_window: window,
        last_window: window,
    };
    row.add(DIRECTION, size.packets, size.bytes, window);
}

/// Payload that the header of a datagram promises, RFC 768: more than there is in the first fragment
/// of several. `None` for a jumbogram, RFC 2675 §4.
#[inline(always)]
fn datagram_len<P: PacketView>(packet: P, transport: u32) -> Option<u32> {
    let [len]: [u16; 1] = packet.copied(transport + 4)?;
    u32::from(u16::from_be(len)).checked_sub(8)
}

/// What a TCP segment is to be sampled as. A handshake says which sequence number the first payload
/// will have, so that neither a conversation that is older than the agent nor a retransmission is
/// taken for a new one. `now` is the word of the flow if it is settled.
#[inline(always)]
fn tcp_sample<P: PacketView, const DIRECTION: usize>(
    packet: P,
    segment: PackedSegment,
    flow: u64,
    payload_len: u32,
    slot: *mut u64,
    now: u64,
) -> Option<SampleKind> {
    let is_syn = segment.is_syn();
    let arrives = DIRECTION == INGRESS && segment.destination_is_watched();
    if segment.is_rst() || !(is_syn || payload_len > 0 || arrives) {
        return None;
    }
    let [high, low]: [u16; 2] = packet.copied(segment.offset() + 4)?;
    let sequence = u32::from_be(double(high, low));
    // SAFETY: a word is read and written whole.
    unsafe {
        if is_syn {
            slot.write_volatile(awaiting(flow, sequence.wrapping_add(1)));
            let is_attempt = segment.is_connection_attempt() && arrives;
            return is_attempt.then_some(SampleKind::ConnectionAttempt);
        }
        let word = slot.read_volatile();
        if word == awaiting(flow, sequence) || word == acknowledged(flow, sequence) {
            let is_first = payload_len > 0;
            slot.write_volatile(if is_first { now } else { acknowledged(flow, sequence) });
            if is_first {
                return Some(SampleKind::Payload);
            }
            return (word == awaiting(flow, sequence)).then_some(SampleKind::Handshake);
        }
        // Older than the agent, or settled in an earlier window or the other direction. What others
        // wait for goes first.
        if was_settled(word, flow, now as u32) || is_free(word, now as u32) {
            slot.write_volatile(merged(word, now));
        }
    }
    None
}

/// A datagram is sampled if none went this way a short time ago. `now` is the word of the flow once
/// it is settled.
#[inline(always)]
fn udp_sample(flow: u64, slot: *mut u64, now: u64) -> Option<SampleKind> {
    // SAFETY: a word is read and written whole.
    let word = unsafe { slot.read_volatile() };
    // SAFETY: as above.
    unsafe { slot.write_volatile(merged(word, now)) };
    (!was_settled(word, flow, now as u32)).then_some(SampleKind::Payload)
}

/// Takes one sample from what the source may have, and one from what all may.
#[inline(always)]
fn is_within_limits(kind: SampleKind, protocol: Protocol, source: u64, window: u32) -> bool {
    let budget = match (kind, protocol) {
        (SampleKind::Payload | SampleKind::Handshake, Protocol::Tcp) => Budget::Connections,
        _ => Budget::Unverified,
    };
    let Some(control) = SAMPLING.get_ptr_mut(0) else { return false };
    // SAFETY: an aligned word of a map value; it is added to atomically.
    unsafe {
        let budget = (&raw mut (*control).budgets).cast::<i64>().add(budget as usize);
        if budget.read_volatile() <= 0 {
            skip(SkipCause::TotalLimit);
            return false;
        }
        let Some(slot) = RECENT_SOURCES.get_ptr_mut(source_index(source)) else { return false };
        let Some(word) = one_more(slot.read_volatile(), source, window) else {
            skip(SkipCause::SourceLimit);
            return false;
        };
        slot.write_volatile(word);
        add_atomic(budget.cast(), (-1_i64) as u64);
    }
    true
}

/// Counts a sample that is not taken.
#[inline(always)]
fn skip(cause: SkipCause) {
    // SAFETY: the helper takes no arguments. A program stays on its CPU while it runs.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    if let Some(counters) = SKIPPED_SAMPLES.get_ptr_mut(cpu) {
        // SAFETY: the index is within, and only this CPU writes.
        unsafe { (*counters)[cause as usize] += 1 };
    }
}
