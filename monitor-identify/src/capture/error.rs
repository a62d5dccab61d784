//! What can go wrong while a capture is read.

use std::io;

/// Why a capture was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The reader failed, or what is compressed in it is damaged.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// A finding could not be written.
    #[error(transparent)]
    Write(io::Error),
    /// The file begins as no capture does.
    #[error("it is neither pcap nor pcapng")]
    NotACapture,
    /// The file ends before a block does.
    #[error("it ends in the middle of a block, behind block {block}, at byte {at}")]
    Truncated {
        /// Blocks that were read before.
        block: u64,
        /// Where the block begins, in bytes of the capture.
        at: u64,
    },
    /// A block's size is larger than any packet.
    #[error("block {block} claims to have {size} bytes, at byte {at}")]
    TooLarge {
        /// Number of the block.
        block: u64,
        /// Where it begins, in bytes of the capture.
        at: u64,
        /// The size that it claims.
        size: u32,
    },
    /// A block contradicts itself.
    #[error("block {block} is malformed, at byte {at}: {what}")]
    Malformed {
        /// Number of the block.
        block: u64,
        /// Where it begins, in bytes of the capture.
        at: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A packet is of an interface without a description.
    #[error("a packet is of interface {0}, which the capture does not describe")]
    UnknownInterface(u32),
    /// Packets have link layers that are not known here. All others were read.
    #[error("{packets} with a link layer that ghostport does not know: {linktypes}", packets = counted(*packets))]
    UnknownLinkLayer {
        /// How many.
        packets: u64,
        /// The link layers by number, and by name where it is known.
        linktypes: String,
    },
    /// A compression that is not known here, or a damaged header of one.
    #[error("the {0} data in it cannot be read")]
    Compression(&'static str, #[source] io::Error),
}

fn counted(packets: u64) -> String {
    if packets == 1 { "1 packet".to_owned() } else { format!("{packets} packets") }
}

impl From<io::Error> for CaptureError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}
