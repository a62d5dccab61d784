//! Sampled packets as the agent sees them: the kernel side's records, decoded once.

use alloc::boxed::Box;
use core::{fmt, net::SocketAddr};

use crate::{
    flow::{Direction, Orientation, Protocol},
    sample::{Sample, SampleKind, UnknownKind},
    sampling::{address_bytes, ip_address},
};

/// A packet that was sampled on a watched port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleRecord {
    /// What was taken of the packet.
    pub content: SampleContent,
    /// `CLOCK_BOOTTIME`, nanoseconds.
    pub time_ns: u64,
    /// Index of the interface that the packet crossed.
    pub interface: u32,
    /// Which way it crossed the interface.
    pub direction: Direction,
    /// Which of its ends is this host's.
    pub orientation: Orientation,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Sender.
    pub source: SocketAddr,
    /// Receiver.
    pub destination: SocketAddr,
}

/// What was taken of a packet.
#[derive(Clone, PartialEq, Eq)]
pub enum SampleContent {
    /// The first payload that one end of a conversation sent.
    Payload {
        /// Its beginning, at most [`SAMPLE_LEN`](crate::sample::SAMPLE_LEN) bytes.
        bytes: Box<[u8]>,
        /// Bytes of the payload on the wire; of a datagram, as its own header says.
        wire_len: u32,
    },
    /// A SYN without ACK arrived.
    ConnectionAttempt {
        /// The IP and TCP headers.
        headers: Box<[u8]>,
    },
    /// The peer of such an attempt has acknowledged the answer, and has sent nothing so far.
    Handshake,
    /// A part of the first [`FLIGHT_LEN`](crate::sample::FLIGHT_LEN) bytes of a TCP flow that the first
    /// sample does not have.
    Continuation {
        /// Its beginning, at most [`SAMPLE_LEN`](crate::sample::SAMPLE_LEN) bytes.
        bytes: Box<[u8]>,
        /// Bytes of the segment on the wire, from here on.
        wire_len: u32,
        /// Where it begins behind the first byte of its flow.
        offset: u32,
    },
    /// A segment arrived that begins no connection and belongs to none.
    Stray {
        /// The IP and TCP headers.
        headers: Box<[u8]>,
    },
}

impl fmt::Debug for SampleContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Payload { bytes, wire_len } => {
                write!(f, "Payload(\"{}\", {wire_len} bytes)", bytes.escape_ascii())
            }
            Self::ConnectionAttempt { headers } => {
                write!(f, "ConnectionAttempt(\"{}\")", headers.escape_ascii())
            }
            Self::Handshake => f.write_str("Handshake"),
            Self::Continuation { bytes, wire_len, offset } => {
                write!(f, "Continuation(\"{}\", {wire_len} at {offset})", bytes.escape_ascii())
            }
            Self::Stray { headers } => write!(f, "Stray(\"{}\")", headers.escape_ascii()),
        }
    }
}

/// Why bytes are no sampled packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// No sample has this many bytes.
    Length(usize),
    /// No kind of sample has this number.
    Kind(u8),
    /// No direction has this number.
    Direction(u8),
    /// No orientation has this number.
    Orientation(u8),
    /// No protocol has this number.
    Protocol(u8),
    /// No version of IP has this number.
    Family(u8),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(bytes) => write!(f, "a sample of {bytes} bytes"),
            Self::Kind(number) => write!(f, "unknown kind {number} of a sample"),
            Self::Direction(number) => write!(f, "unknown direction {number} of a sample"),
            Self::Orientation(number) => {
                write!(f, "unknown orientation {number} of a sample")
            }
            Self::Protocol(number) => write!(f, "unknown protocol {number} of a sample"),
            Self::Family(number) => write!(f, "unknown version {number} of IP of a sample"),
        }
    }
}

impl core::error::Error for DecodeError {}

impl SampleRecord {
    /// Decodes a record of the ring buffer.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let sample: Sample = bytemuck::try_pod_read_unaligned(bytes)
            .map_err(|_| DecodeError::Length(bytes.len()))?;
        Self::try_from(&sample)
    }
}

impl TryFrom<&Sample> for SampleRecord {
    type Error = DecodeError;

    fn try_from(sample: &Sample) -> Result<Self, DecodeError> {
        let address = |words, port| {
            let ip = ip_address(sample.family, address_bytes(words));
            ip.map(|ip| SocketAddr::new(ip, port)).ok_or(DecodeError::Family(sample.family))
        };
        Ok(Self {
            content: content(sample)?,
            time_ns: sample.time_ns,
            interface: sample.interface,
            direction: sample.direction().ok_or(DecodeError::Direction(sample.direction))?,
            orientation: sample
                .orientation()
                .ok_or(DecodeError::Orientation(sample.orientation))?,
            protocol: sample.protocol().ok_or(DecodeError::Protocol(sample.protocol))?,
            source: address(sample.source, sample.source_port)?,
            destination: address(sample.destination, sample.destination_port)?,
        })
    }
}

fn content(sample: &Sample) -> Result<SampleContent, DecodeError> {
    let kind = SampleKind::try_from(sample.kind)
        .map_err(|UnknownKind(number)| DecodeError::Kind(number))?;
    let captured = sample.bytes.get(..sample.captured.into()).unwrap_or(&sample.bytes);
    Ok(match kind {
        SampleKind::Payload => {
            SampleContent::Payload { bytes: captured.into(), wire_len: sample.wire_len }
        }
        SampleKind::ConnectionAttempt => {
            SampleContent::ConnectionAttempt { headers: captured.into() }
        }
        SampleKind::Handshake => SampleContent::Handshake,
        SampleKind::Continuation => SampleContent::Continuation {
            bytes: captured.into(),
            wire_len: sample.wire_len,
            offset: sample.offset.into(),
        },
        SampleKind::Stray => SampleContent::Stray { headers: captured.into() },
    })
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Sample {
        let mut bytes = [0; 256];
        bytes[..3].copy_from_slice(b"GET");
        Sample {
            kind: SampleKind::Payload as u8,
            family: 4,
            source: [u64::from_ne_bytes([192, 0, 2, 1, 0, 0, 0, 0]), 0],
            source_port: 40000,
            destination_port: 80,
            captured: 3,
            wire_len: 18,
            bytes,
            ..Sample::zeroed()
        }
    }

    #[test]
    fn a_payload_ends_where_the_capture_ends() {
        let record = SampleRecord::try_from(&sample()).expect("a record");
        let payload = SampleContent::Payload { bytes: (*b"GET").into(), wire_len: 18 };
        assert_eq!(record.content, payload);
        assert_eq!(Ok(record.source), "192.0.2.1:40000".parse());
        assert_eq!((record.direction, record.protocol), (Direction::Ingress, Protocol::Tcp));
        let longer = SampleRecord::try_from(&Sample { captured: 300, ..sample() });
        let Ok(SampleContent::Payload { bytes, .. }) = longer.map(|record| record.content) else {
            panic!("no payload");
        };
        assert_eq!(bytes.len(), 256);
    }

    #[test]
    fn rejects_unknown_numbers() {
        let error = |sample: Sample| SampleRecord::try_from(&sample).err();
        assert_eq!(error(Sample { kind: 9, ..sample() }), Some(DecodeError::Kind(9)));
        assert_eq!(error(Sample { direction: 2, ..sample() }), Some(DecodeError::Direction(2)));
        let orientation = Sample { orientation: 3, ..sample() };
        assert_eq!(error(orientation), Some(DecodeError::Orientation(3)));
        assert_eq!(error(Sample { protocol: 2, ..sample() }), Some(DecodeError::Protocol(2)));
        assert_eq!(error(Sample { family: 5, ..sample() }), Some(DecodeError::Family(5)));
        assert_eq!(SampleRecord::decode(&[]), Err(DecodeError::Length(0)));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(
            bytes in prop::collection::vec(any::<u8>(), size_of::<Sample>()),
            kind in 1_u8..6,
            (direction, protocol, orientation) in (0_u8..2, 0_u8..2, 0_u8..3),
        ) {
            let random: Sample = bytemuck::pod_read_unaligned(&bytes);
            let sample = Sample {
                kind,
                direction,
                protocol,
                orientation,
                family: 6,
                ..random
            };
            prop_assert!(SampleRecord::try_from(&sample).is_ok());
        }
    }
}
