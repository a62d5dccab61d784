//! pcap files, draft-ietf-opsawg-pcap, and their variants: a header, then records.

use std::io::Read;

use super::{
    error::CaptureError,
    record::{LARGEST, Order, Record},
    source::Source,
};

const HEADER_LEN: usize = 24;

/// What differs between the variants.
struct Variant {
    order: Order,
    /// Bytes behind the usual header of the file.
    more_header: usize,
    /// Bytes of a record's header; `None` where the first records have to show it.
    record_header: Option<usize>,
}

impl Variant {
    /// By the magic number.
    fn of(magic: [u8; 4]) -> Option<Self> {
        let usual = |order, record_header| Some(Self { order, more_header: 0, record_header });
        match magic {
            // Microseconds; two old systems wrote longer records behind the same number.
            [0xd4, 0xc3, 0xb2, 0xa1] => usual(Order::Little, None),
            [0xa1, 0xb2, 0xc3, 0xd4] => usual(Order::Big, None),
            // Nanoseconds.
            [0x4d, 0x3c, 0xb2, 0xa1] => usual(Order::Little, Some(16)),
            [0xa1, 0xb2, 0x3c, 0x4d] => usual(Order::Big, Some(16)),
            // Kuznetzov's, of Linux in the nineties, with the interface.
            [0x34, 0xcd, 0xb2, 0xa1] => usual(Order::Little, Some(24)),
            [0xa1, 0xb2, 0xcd, 0x34] => usual(Order::Big, Some(24)),
            // Ixia's, with the size of all records behind the header.
            [0xac | 0xab, 0x01, 0x00, 0x1c] => {
                Some(Self { order: Order::Little, more_header: 4, record_header: Some(16) })
            }
            [0x1c, 0x00, 0x01, 0xac | 0xab] => {
                Some(Self { order: Order::Big, more_header: 4, record_header: Some(16) })
            }
            _ => None,
        }
    }
}

/// Whether a file that begins so is a pcap file.
pub(super) fn is_magic(start: &[u8]) -> bool {
    start.first_chunk().is_some_and(|magic| Variant::of(*magic).is_some())
}

/// A pcap file behind its header.
pub(super) struct Pcap {
    order: Order,
    record_header: usize,
    linktype: u16,
    /// Whether captured and original size may have changed places, as before version 2.4.
    may_be_swapped: bool,
    blocks: u64,
}

impl Pcap {
    /// Reads the header of the file.
    pub(super) fn open<R: Read>(source: &mut Source<R>) -> Result<Self, CaptureError> {
        let at = source.position();
        let header = source.peek(HEADER_LEN)?;
        let Some(header) = header.first_chunk::<HEADER_LEN>() else {
            return Err(CaptureError::Truncated { block: 0, at });
        };
        let [a, b, c, d, ..] = *header;
        let variant = Variant::of([a, b, c, d]).ok_or(CaptureError::NotACapture)?;
        let order = variant.order;
        let (major, minor) = (order.half(header, 4), order.half(header, 6));
        // The upper half has flags: of the checksum behind each frame, and reserved ones.
        let linktype = (order.word(header, 20) & 0xffff) as u16;
        source.consume(HEADER_LEN + variant.more_header);
        let mut pcap = Self {
            order,
            record_header: 16,
            linktype,
            may_be_swapped: major == 543 || (major == 2 && minor <= 3),
            blocks: 0,
        };
        pcap.record_header = match variant.record_header {
            Some(len) => len,
            None => pcap.guess(source)?,
        };
        Ok(pcap)
    }

    /// The size of a record's header, by which the second record begins where the first one ends.
    fn guess<R: Read>(&self, source: &mut Source<R>) -> Result<usize, CaptureError> {
        const USUAL: usize = 16;
        const CANDIDATES: [usize; 3] = [USUAL, 24, 20];
        const ENOUGH: usize = 64 * 1024;
        let start = source.peek(USUAL)?;
        let first = self.sizes(start).0;
        let wanted = (first as usize).saturating_add(2 * 24).min(ENOUGH);
        let start = source.peek(wanted)?;
        let is_right = |len: usize| {
            let second = start.get(len + first as usize..);
            match second {
                // One record alone: it ends where the file does.
                Some([]) => true,
                Some(second) if second.len() >= USUAL => {
                    let (captured, original) = self.sizes(second);
                    let micros = self.order.word(second, 4);
                    captured <= original
                        && captured > 0
                        && captured <= 262_144
                        && micros < 1_000_000
                }
                _ => false,
            }
        };
        Ok(CANDIDATES.into_iter().find(|len| is_right(*len)).unwrap_or(USUAL))
    }

    /// Captured and original size of the record that begins here.
    fn sizes(&self, header: &[u8]) -> (u32, u32) {
        let (captured, original) = (self.order.word(header, 8), self.order.word(header, 12));
        if self.may_be_swapped && captured > original {
            return (original, captured);
        }
        (captured, original)
    }

    /// Gives the next record to `take`; false at the end.
    pub(super) fn next<R: Read>(
        &mut self,
        source: &mut Source<R>,
        take: &mut dyn FnMut(&Record<'_>) -> Result<(), CaptureError>,
    ) -> Result<bool, CaptureError> {
        let at = source.position();
        let header = source.peek(self.record_header)?;
        if header.is_empty() {
            return Ok(false);
        }
        let truncated = CaptureError::Truncated { block: self.blocks, at };
        if header.len() < self.record_header {
            return Err(truncated);
        }
        let (captured, _) = self.sizes(header);
        if captured > LARGEST {
            return Err(CaptureError::TooLarge { block: self.blocks + 1, at, size: captured });
        }
        let len = self.record_header + captured as usize;
        let record = source.peek(len)?;
        if record.len() < len {
            return Err(truncated);
        }
        let bytes = &record[self.record_header..];
        take(&Record { linktype: self.linktype, bytes })?;
        source.consume(len);
        self.blocks += 1;
        Ok(true)
    }
}
