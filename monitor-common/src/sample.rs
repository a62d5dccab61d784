//! First payloads and connection attempts on watched ports: the record that travels through a ring
//! buffer of its own.

use crate::{
    flow::{Direction, Orientation, Protocol},
    sampling::AddressWords,
};

pub use crate::limits::{FLIGHT_LEN, SAMPLE_LEN};

/// What the bytes of a [`Sample`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SampleKind {
    /// The first payload that one end of a conversation sent.
    Payload = 1,
    /// The IP and TCP headers of a connection attempt that arrived: a SYN without ACK.
    ConnectionAttempt = 2,
    /// None: the peer of such an attempt has acknowledged the answer, and sent nothing so far.
    Handshake = 3,
    /// What follows the first sample of a TCP flow, or came before it.
    Continuation = 4,
    /// The IP and TCP headers of a segment that arrived, that begins no connection and belongs to
    /// none.
    Stray = 5,
}

/// A packet that was selected for samples, in one register: their kind and number, and where the first
/// begins behind the first byte of the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Selected(pub u32);

impl Selected {
    /// For a packet that is not sampled.
    pub const NOTHING: Self = Self(0);

    /// One sample of this kind.
    #[inline(always)]
    pub const fn of(kind: SampleKind) -> Self {
        Self(kind as u32 | 1 << COUNT_SHIFT)
    }

    /// One of a segment that begins so many bytes behind the first byte of its flow.
    #[inline(always)]
    pub const fn continuation(offset: u32) -> Self {
        Self(SampleKind::Continuation as u32 | (offset & 0xffff) << OFFSET_SHIFT | 1 << COUNT_SHIFT)
    }

    /// As many samples as the first [`FLIGHT_LEN`] bytes of the flow have of a segment with a payload
    /// of this length. `self` is one sample.
    #[inline(always)]
    pub const fn of_payload(self, payload_len: u32) -> Self {
        let room = (FLIGHT_LEN as u32).saturating_sub(self.offset() as u32);
        let wanted = if payload_len < room { payload_len } else { room };
        let count = wanted.div_ceil(SAMPLE_LEN as u32);
        if count <= 1 { self } else { Self(self.0 + ((count - 1) << COUNT_SHIFT)) }
    }

    /// The first of them alone.
    #[inline(always)]
    pub const fn first(self) -> Self {
        Self(self.0 & ((1 << COUNT_SHIFT) - 1) | 1 << COUNT_SHIFT)
    }

    /// How many there are.
    #[inline(always)]
    pub const fn count(self) -> u32 {
        self.0 >> COUNT_SHIFT
    }

    /// The sample at this position among them.
    #[inline(always)]
    pub const fn at(self, position: u32) -> Self {
        if position == 0 {
            self.first()
        } else {
            Self::continuation(self.offset() as u32 + position * SAMPLE_LEN as u32)
        }
    }

    /// Whether it is of this kind.
    #[inline(always)]
    pub const fn is(self, kind: SampleKind) -> bool {
        self.kind() == kind as u8
    }

    /// [`SampleKind`].
    #[inline(always)]
    pub const fn kind(self) -> u8 {
        self.0 as u8
    }

    /// Where it begins behind the first byte.
    #[inline(always)]
    pub const fn offset(self) -> u16 {
        (self.0 >> OFFSET_SHIFT) as u16
    }
}

const OFFSET_SHIFT: u32 = 8;
const COUNT_SHIFT: u32 = 24;
/// Samples of one packet at most.
pub const MAX_SAMPLES_OF_PACKET: u32 = (FLIGHT_LEN / SAMPLE_LEN) as u32;
const _: () = assert!(FLIGHT_LEN.is_multiple_of(SAMPLE_LEN) && MAX_SAMPLES_OF_PACKET < 1 << 8);

impl TryFrom<u8> for SampleKind {
    type Error = UnknownKind;

    fn try_from(byte: u8) -> Result<Self, UnknownKind> {
        match byte {
            1 => Ok(Self::Payload),
            2 => Ok(Self::ConnectionAttempt),
            3 => Ok(Self::Handshake),
            4 => Ok(Self::Continuation),
            5 => Ok(Self::Stray),
            _ => Err(UnknownKind(byte)),
        }
    }
}

/// A byte that names no [`SampleKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownKind(pub u8);

/// Why a packet that would have been sampled was not; the index into the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum SkipCause {
    /// Its remote address has had its share for this port and time.
    SourceLimit = 0,
    /// All remote addresses together have had theirs.
    TotalLimit = 1,
    /// The ring buffer was full.
    RingFull = 2,
    /// Its bytes were not where a program can read them.
    Unreadable = 3,
}

impl SkipCause {
    /// How many causes there are.
    pub const COUNT: usize = 4;

    /// Every cause, in the order of its index.
    pub const ALL: [Self; Self::COUNT] =
        [Self::SourceLimit, Self::TotalLimit, Self::RingFull, Self::Unreadable];

    /// Name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SourceLimit => "source_limit",
            Self::TotalLimit => "total_limit",
            Self::RingFull => "ring_full",
            Self::Unreadable => "unreadable",
        }
    }
}

/// A sampled packet.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Sample {
    /// `CLOCK_BOOTTIME`, nanoseconds.
    pub time_ns: u64,
    /// Where it came from.
    pub source: AddressWords,
    /// Where it went to.
    pub destination: AddressWords,
    /// Index of the interface that it crossed.
    pub interface: u32,
    /// Bytes of the payload on the wire; of a datagram, as its own header says.
    pub wire_len: u32,
    /// Host byte order.
    pub source_port: u16,
    /// Host byte order.
    pub destination_port: u16,
    /// Bytes in [`bytes`](Self::bytes) that are meant.
    pub captured: u16,
    /// Of a continuation, where its bytes lie behind the first one of the flow.
    pub offset: u16,
    /// [`SampleKind`].
    pub kind: u8,
    /// [`Protocol`].
    pub protocol: u8,
    /// [`Direction`].
    pub direction: u8,
    /// Version of IP: 4 or 6.
    pub family: u8,
    /// [`Orientation`].
    pub orientation: u8,
    /// Explicit padding.
    pub reserved: [u8; 3],
    /// The payload, or the headers.
    pub bytes: [u8; SAMPLE_LEN],
}
const _: () = assert!(size_of::<Sample>() == 320);

impl Sample {
    /// What carried it.
    pub fn protocol(&self) -> Option<Protocol> {
        Protocol::COMMON.into_iter().find(|protocol| *protocol as u8 == self.protocol)
    }

    /// Which of its ends is this host's.
    pub fn orientation(&self) -> Option<Orientation> {
        Orientation::ALL.into_iter().find(|each| *each as u8 == self.orientation)
    }

    /// Which way it crossed the interface.
    pub fn direction(&self) -> Option<Direction> {
        Direction::ALL.into_iter().find(|direction| *direction as u8 == self.direction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_is_position() {
        for (position, cause) in SkipCause::ALL.iter().enumerate() {
            assert_eq!(*cause as usize, position);
        }
    }

    #[test]
    fn kinds_decode_to_themselves() {
        for kind in [
            SampleKind::Payload,
            SampleKind::ConnectionAttempt,
            SampleKind::Handshake,
            SampleKind::Continuation,
            SampleKind::Stray,
        ] {
            assert_eq!(SampleKind::try_from(kind as u8), Ok(kind));
            assert!(Selected::of(kind).is(kind));
        }
        let selected = Selected::continuation(255);
        assert_eq!((selected.kind(), selected.offset()), (SampleKind::Continuation as u8, 255));
        assert_eq!(SampleKind::try_from(0), Err(UnknownKind(0)));
    }

    #[test]
    fn a_long_segment_has_as_many_samples_as_fit_into_a_flight() {
        let count = |selected: Selected, len| selected.of_payload(len).count();
        let first = Selected::of(SampleKind::Payload);
        let lengths = [0, 1, 256, 257, 1460, 4095, 4096, 4097, 65_000];
        assert_eq!(lengths.map(|len| count(first, len)), [1, 1, 1, 2, 6, 16, 16, 16, 16]);
        let behind = Selected::continuation(4000);
        assert_eq!([1, 96, 97, 1460].map(|len| count(behind, len)), [1; 4]);
        assert_eq!(count(Selected::continuation(3000), 1460), 5);
        let all = Selected::continuation(300).of_payload(1460);
        assert_eq!((all.count(), all.first()), (6, Selected::continuation(300)));
        assert_eq!((all.at(0), all.at(5)), (all.first(), Selected::continuation(300 + 5 * 256)));
        let of_first = first.of_payload(600);
        assert_eq!((of_first.at(0), of_first.at(2)), (first, Selected::continuation(512)));
    }
}
