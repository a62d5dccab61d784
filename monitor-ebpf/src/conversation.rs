//! Conversations on watched ports: each packet's remote address is recorded, and the first payload of
//! a new conversation is selected for sampling, over TCP up to [`FLIGHT_LEN`] bytes.
//!
//! Nothing here waits, and no failure here changes a count.

use monitor_common::{
    flow::{Direction, LOOPBACK, Orientation, Protocol, Side},
    open_flight::{is_open_flight, is_repeated, offset_in_flight, open_flight, with_segment},
    packet::PackedSegment,
    ports::WirePort,
    sample::{FLIGHT_LEN, SampleKind, Selected},
    sampling::{
        acknowledged, awaited, awaiting, conversation_index, hash_address, is_free, is_of_other,
        is_settled, merged, settled, was_settled,
    },
    sources::{sketch_index, talker_key},
};

use crate::{
    control::Control,
    maps::{CONVERSATIONS, index_of},
    network::{Network, double},
    packet_program::{FlowDirection, PacketProgram},
    packet_view::{PacketView, WireSize},
    remote_flows,
    sampling::within_limits,
    sources::{record_source, record_talker},
};

/// Records the remote address of a packet on a watched port and looks up its flow. Returns the hash
/// of a flow that [`track_new_flow`] has to see, or 0.
#[inline(always)]
pub(crate) fn observe<P: PacketProgram>(
    packet: P::View,
    segment: PackedSegment,
    size: WireSize,
) -> u64 {
    if matches!(segment.orientation(), Orientation::Transit) {
        return 0;
    }
    let Some(control) = Control::read() else { return 0 };
    let Some(network) = Network::read(packet, segment.network()) else { return 0 };
    let source = control.keys.address(network.source);
    let destination = control.keys.address(network.destination);
    let remote_sum = remote::<P::Direction, _>(segment, source, destination);
    let remote = remote::<P::Direction, _>(segment, network.source, network.destination);
    let protocol = segment.protocol();
    let key = talker_key(watched_port::<P::Direction>(segment), protocol, network.family);
    record_talker::<P::Direction>(remote, remote_sum, key, control.window, size);

    let flow = control.keys.flow(source, destination, segment.ports(), protocol as u32);
    let Some(slot) = CONVERSATIONS.get_ptr_mut(conversation_index(flow)) else { return 0 };
    // SAFETY: a word is read and written whole.
    let word = unsafe { slot.read_volatile() };
    if is_settled(word, flow, control.window, P::Direction::INDEX) && !segment.is_syn() {
        0
    } else {
        flow
    }
}

/// Tracks a flow that is not settled, and adds its remote address to the port's sketch. Returns the
/// sample to take of the packet.
#[inline(always)]
pub(crate) fn track_new_flow<P: PacketProgram>(
    packet: P::View,
    segment: PackedSegment,
    flow: u64,
) -> Option<Selected> {
    let control = Control::read()?;
    let slot = CONVERSATIONS.get_ptr_mut(conversation_index(flow))?;
    let now = settled(flow, control.window, P::Direction::INDEX);
    if is_remote::<P::Direction>(segment)
        && packet.interface() != LOOPBACK
        && remote_flows::is_peers::<P>(packet, segment)
    {
        // A source port that is watched by chance.
        // SAFETY: a word is read whole.
        settle(flow, unsafe { slot.read_volatile() }, slot, now);
        return None;
    }
    let network = Network::read(packet, segment.network())?;
    let remote = remote::<P::Direction, _>(segment, network.source, network.destination);
    let remote_hash = hash_address(remote, control.seed());
    let protocol = segment.protocol();
    let port = watched_port::<P::Direction>(segment);
    let index = index_of(port)?;
    record_source(sketch_index(index, protocol, control.window), remote_hash);

    let selected = match protocol {
        Protocol::Tcp => {
            let payload_len = network.payload_len(packet, segment.headers_len());
            tcp_sample::<P>(packet, segment, flow, payload_len, slot, now)
        }
        _ => udp_sample(flow, slot, now),
    }?;
    let source = remote_hash ^ u64::from(port.0).rotate_right(20);
    let granted = within_limits(selected, protocol, source, control.window);
    if granted != selected && matches!(protocol, Protocol::Tcp) {
        // What follows could not be put behind what is missing.
        // SAFETY: a word is written whole.
        unsafe { slot.write_volatile(now) };
    }
    (granted != Selected::NOTHING).then_some(granted)
}

/// Of a value for the source and one for the destination, the one for the remote host.
#[inline(always)]
fn remote<D: FlowDirection, T>(segment: PackedSegment, source: T, destination: T) -> T {
    if is_from_here::<D>(segment) { destination } else { source }
}

/// The watched port of a packet; this host's, if both are watched.
#[inline(always)]
fn watched_port<D: FlowDirection>(segment: PackedSegment) -> WirePort {
    let is_source = is_from_here::<D>(segment) != is_remote::<D>(segment);
    if is_source { segment.source() } else { segment.destination() }
}

/// Whether the watched port of a packet is the peer's.
#[inline(always)]
fn is_remote<D: FlowDirection>(segment: PackedSegment) -> bool {
    if is_from_here::<D>(segment) {
        !segment.source_is_watched()
    } else {
        !segment.destination_is_watched()
    }
}

/// Whether the source of a packet is this host.
#[inline(always)]
fn is_from_here<D: FlowDirection>(segment: PackedSegment) -> bool {
    matches!(segment.orientation().side_of_source(D::VALUE), Side::Local)
}

/// The samples to take of a TCP segment. A handshake gives the sequence number of the first payload, so
/// that neither a conversation older than the agent nor a retransmission is mistaken for a new one.
/// `now` is the flow's word once it is settled.
#[inline(always)]
fn tcp_sample<P: PacketProgram>(
    packet: P::View,
    segment: PackedSegment,
    flow: u64,
    payload_len: u32,
    slot: *mut u64,
    now: u64,
) -> Option<Selected> {
    let is_syn = segment.is_syn();
    let is_ingress = matches!(P::Direction::VALUE, Direction::Ingress);
    let arrives =
        is_ingress && !is_from_here::<P::Direction>(segment) && segment.destination_is_watched();
    if segment.is_rst() || !(is_syn || payload_len > 0 || arrives) {
        return None;
    }
    let [high, low]: [u16; 2] = packet.copied(segment.offset() + 4)?;
    let sequence = u32::from_be(double(high, low));
    if is_syn {
        // SAFETY: a word is written whole.
        unsafe { slot.write_volatile(awaiting(flow, sequence.wrapping_add(1))) };
        let is_attempt = segment.is_connection_attempt() && arrives;
        return is_attempt.then_some(Selected::of(SampleKind::ConnectionAttempt));
    }
    // SAFETY: a word is read whole.
    let word = unsafe { slot.read_volatile() };
    if word == awaiting(flow, sequence) || word == acknowledged(flow, sequence) {
        let next = match payload_len {
            0 => acknowledged(flow, sequence),
            _ if payload_len < FLIGHT_LEN as u32 => open_flight(flow, sequence, Control::second()),
            _ => now,
        };
        // SAFETY: a word is written whole.
        unsafe { slot.write_volatile(next) };
        if payload_len > 0 {
            return Some(Selected::of(SampleKind::Payload).of_payload(payload_len));
        }
        let is_first = word == awaiting(flow, sequence);
        return is_first.then_some(Selected::of(SampleKind::Handshake));
    }
    if payload_len > 0 {
        let selected = continuation(sequence, flow, word, slot, now)?;
        return Some(selected.of_payload(payload_len));
    }
    let is_stray = arrives && is_stray(packet, segment, is_of_other(word, flow));
    settle(flow, word, slot, now);
    is_stray.then_some(Selected::of(SampleKind::Stray))
}

/// The sample to take of a payload that is not the first in its flow: one that begins within
/// [`FLIGHT_LEN`] bytes of the first.
#[inline(always)]
fn continuation(sequence: u32, flow: u64, word: u64, slot: *mut u64, now: u64) -> Option<Selected> {
    if let Some(first) = awaited(word, flow) {
        // Ahead of the first, which is still to come.
        let offset = sequence.wrapping_sub(first);
        return (offset < FLIGHT_LEN as u32).then_some(Selected::continuation(offset));
    }
    let second = Control::second();
    if !is_open_flight(word, flow, second) {
        settle(flow, word, slot, now);
        return None;
    }
    let offset = offset_in_flight(word, sequence);
    if is_repeated(word, offset) {
        return None;
    }
    let next = with_segment(word, offset, second);
    // SAFETY: a word is written whole.
    unsafe { slot.write_volatile(next.unwrap_or(now)) };
    next.map(|_| Selected::continuation(offset))
}

/// Notes that no more is wanted of a flow that is older than the agent, or was settled in an earlier
/// window or the other direction. A word that another flow waits on is not overwritten.
#[inline(always)]
fn settle(flow: u64, word: u64, slot: *mut u64, now: u64) {
    if was_settled(word, flow, now as u32) || is_free(word, now as u32, Control::second()) {
        // SAFETY: a word is written whole.
        unsafe { slot.write_volatile(merged(word, now)) };
    }
}

/// Whether a segment without payload is one of a scan that sends no SYN: with flags that no
/// connection has, or, where the flow is not known, with flags that end one and a window as Nmap has
/// it, without options.
#[inline(always)]
fn is_stray<V: PacketView>(packet: V, segment: PackedSegment, is_unknown: bool) -> bool {
    const FIN: u16 = 0x01;
    const ACK: u16 = 0x10;
    const FLAGS: u16 = 0x3f;
    /// The length of a header without options, in words, where TCP has it.
    const NO_OPTIONS: u16 = 5 << 12;
    let Some([head, window]): Option<[u16; 2]> = packet.copied(segment.offset() + 12) else {
        return false;
    };
    let (head, window) = (u16::from_be(head), u16::from_be(window));
    if head & ACK == 0 {
        return true;
    }
    let is_bare = head & 0xf000 == NO_OPTIONS && matches!(head & FLAGS & !FIN, ACK);
    is_unknown && is_bare && matches!(window, 1024 | 2048 | 3072 | 4096)
}

/// The sample to take of a datagram: none if one went the same way a short time ago. `now` is
/// the flow's word once it is settled.
#[inline(always)]
fn udp_sample(flow: u64, slot: *mut u64, now: u64) -> Option<Selected> {
    // SAFETY: a word is read and written whole.
    let word = unsafe { slot.read_volatile() };
    // SAFETY: as above.
    unsafe { slot.write_volatile(merged(word, now)) };
    (!was_settled(word, flow, now as u32)).then_some(Selected::of(SampleKind::Payload))
}
