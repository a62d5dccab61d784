//! The result of the parser.

use super::segment::Segment;
use crate::{flow::Protocol, ports::WirePort, unclassified::Unclassified};

/// What the parser makes of a packet.
///
/// One flat record rather than an enum with payloads: the payload of a variant that does not hold
/// is undefined to the compiler, which then copies registers that were never written, which the
/// verifier refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    verdict: Verdict,
    segment: Segment,
}

/// Which kind of packet it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// A transport header with ports.
    Segment,
    /// Nothing that could carry a port.
    NotOurs,
    /// A protocol with ports, or on the way to it, and the ports cannot be known.
    Unclassified(Unclassified),
}

impl Parsed {
    pub(super) const NOT_OURS: Self = Self::without_segment(Verdict::NotOurs);

    const fn without_segment(verdict: Verdict) -> Self {
        let segment = Segment {
            protocol: Protocol::Tcp,
            source: WirePort(0),
            destination: WirePort(0),
            network: 0,
            offset: 0,
            control: 0,
        };
        Self { verdict, segment }
    }

    pub(super) const fn unclassified_by(cause: Unclassified) -> Self {
        Self::without_segment(Verdict::Unclassified(cause))
    }

    pub(super) const fn of(segment: Segment) -> Self {
        Self { verdict: Verdict::Segment, segment }
    }

    /// The same, of a packet whose IP header is there.
    #[inline(always)]
    pub(super) const fn with_network(mut self, offset: usize) -> Self {
        self.segment.network = offset as u32;
        self
    }

    /// The transport header, of a packet that has one with ports.
    #[inline(always)]
    pub const fn segment(&self) -> Option<&Segment> {
        match self.verdict {
            Verdict::Segment => Some(&self.segment),
            _ => None,
        }
    }

    /// Why the ports cannot be known, of a packet that may be ours.
    #[inline(always)]
    pub const fn unclassified(&self) -> Option<Unclassified> {
        match self.verdict {
            Verdict::Unclassified(cause) => Some(cause),
            _ => None,
        }
    }
}

pub(super) const TRUNCATED: Parsed = Parsed::unclassified_by(Unclassified::Truncated);
