//! A packet as a capture has it.

/// The bytes of a packet with their link layer.
pub(super) struct Record<'a> {
    /// Number of the link layer, www.tcpdump.org/linktypes.html.
    pub(super) linktype: u16,
    /// The packet, as far as it was captured.
    pub(super) bytes: &'a [u8],
}

/// Largest packet, in bytes: a damaged size must not take all memory.
pub(super) const LARGEST: u32 = 16 * 1024 * 1024;

/// Byte order of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    pub(super) const fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    pub(super) const fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    /// The word at `at`; 0 past the end.
    pub(super) fn word(self, bytes: &[u8], at: usize) -> u32 {
        bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| self.u32(*word))
    }

    /// The half word at `at`; 0 past the end.
    pub(super) fn half(self, bytes: &[u8], at: usize) -> u16 {
        bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |half| self.u16(*half))
    }
}
