//! pcapng files, draft-ietf-opsawg-pcapng: blocks with their size at both ends.

use std::io::Read;

use super::{
    error::CaptureError,
    record::{LARGEST, Order, Record},
    source::Source,
};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
/// Obsolete, of files before 2012.
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Interfaces of a section; more are damage.
const MAX_INTERFACES: usize = 65_536;

/// Whether a file that begins so is a pcapng file.
pub(super) fn is_magic(start: &[u8]) -> bool {
    start.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a])
}

/// An interface of the section.
struct Interface {
    linktype: u16,
    /// Bytes of a packet that were captured at most; 0 for all.
    snapshot: u32,
}

/// A pcapng file as far as it was read.
pub(super) struct Pcapng {
    order: Order,
    interfaces: Vec<Interface>,
    blocks: u64,
}

impl Pcapng {
    pub(super) const fn new() -> Self {
        Self { order: Order::Little, interfaces: Vec::new(), blocks: 0 }
    }

    /// Reads the next block, and gives a packet in it to `take`; false at the end.
    pub(super) fn next<R: Read>(
        &mut self,
        source: &mut Source<R>,
        take: &mut dyn FnMut(&Record<'_>) -> Result<(), CaptureError>,
    ) -> Result<bool, CaptureError> {
        const FRAME: usize = 12;
        let at = source.position();
        let start = source.peek(FRAME)?;
        if start.is_empty() {
            return Ok(false);
        }
        let truncated = CaptureError::Truncated { block: self.blocks, at };
        let number = self.blocks + 1;
        let malformed = |what| CaptureError::Malformed { block: number, at, what };
        if start.len() < FRAME {
            return Err(truncated);
        }
        // A section header reads the same in both byte orders, and says which it is.
        if is_magic(start) {
            self.order = match start[8..12] {
                [0x4d, 0x3c, 0x2b, 0x1a] => Order::Little,
                [0x1a, 0x2b, 0x3c, 0x4d] => Order::Big,
                _ => return Err(malformed("its byte order is none")),
            };
        }
        let kind = self.order.word(start, 0);
        let size = self.order.word(start, 4);
        if size < FRAME as u32 {
            return Err(malformed("it is smaller than its frame"));
        }
        if size > LARGEST {
            return Err(CaptureError::TooLarge { block: number, at, size });
        }
        // Some writers do not count what pads a block.
        let len = (size as usize).next_multiple_of(4);
        let block = source.peek(len)?;
        if block.len() < len {
            return Err(truncated);
        }
        if self.order.word(block, len - 4) != size {
            return Err(malformed("its sizes differ"));
        }
        let body = &block[8..len - 4];
        match kind {
            SECTION_HEADER => self.interfaces.clear(),
            INTERFACE => {
                if self.interfaces.len() >= MAX_INTERFACES {
                    return Err(malformed("a section describes more than 65,536 interfaces"));
                }
                self.interfaces.push(Interface {
                    linktype: self.order.half(body, 0),
                    snapshot: self.order.word(body, 4),
                });
            }
            _ => {
                if let Some(record) = self.packet(kind, body, malformed)? {
                    take(&record)?;
                }
            }
        }
        source.consume(len);
        self.blocks += 1;
        Ok(true)
    }

    /// The packet in a block, if it has one: others are names, statistics, secrets and the like.
    fn packet<'a>(
        &self,
        kind: u32,
        body: &'a [u8],
        malformed: impl Fn(&'static str) -> CaptureError,
    ) -> Result<Option<Record<'a>>, CaptureError> {
        // Interface, times or drops, captured and original size.
        let (interface, captured, header) = match kind {
            ENHANCED_PACKET => (self.order.word(body, 0), self.order.word(body, 12), 20),
            PACKET => (self.order.half(body, 0).into(), self.order.word(body, 12), 20),
            SIMPLE_PACKET => {
                // The first interface; what was captured follows from its limit.
                let original = self.order.word(body, 0);
                let limit = match self.interfaces.first().map(|interface| interface.snapshot) {
                    None | Some(0) => original,
                    Some(snapshot) => original.min(snapshot),
                };
                (0, limit.min(body.len().saturating_sub(4) as u32), 4)
            }
            _ => return Ok(None),
        };
        let Some(described) = self.interfaces.get(interface as usize) else {
            return Err(CaptureError::UnknownInterface(interface));
        };
        let bytes = body.get(header..).and_then(|rest| rest.get(..captured as usize));
        let bytes = bytes.ok_or_else(|| malformed("its packet is larger than the block"))?;
        Ok(Some(Record { linktype: described.linktype, bytes }))
    }
}
