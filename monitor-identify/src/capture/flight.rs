//! The first bytes that one end of a connection sends: segments of TCP put together.
//!
//! A flight ends where the other end answers, where the capture has a gap, or after
//! [`MAX_BYTES`]: no signature looks further.

/// Bytes of a flight that are kept.
pub(super) const MAX_BYTES: usize = 4096;
/// Segments that wait for one before them.
const MAX_WAITING: usize = 8;
/// Sequence numbers that are further ahead belong to another connection.
const MAX_AHEAD: u32 = 1 << 20;

/// Segments of one direction, put together.
#[derive(Debug, Default)]
pub(super) struct Flight {
    /// Sequence number of the first byte; `None` before a segment shows it.
    start: Option<u32>,
    /// Whether `start` is by the handshake, and nothing can come before it.
    is_anchored: bool,
    /// Bytes in order.
    bytes: Vec<u8>,
    /// Bytes that the first segment had, by which a message in a segment of its own is recognised.
    first_len: usize,
    /// Segments that are ahead, with their sequence numbers.
    waiting: Vec<(u32, Vec<u8>)>,
    /// Bytes on the wire that were not captured, behind the last one.
    missing: usize,
    is_closed: bool,
}

impl Flight {
    /// Notes the sequence number of a SYN: the first byte has the next one.
    pub(super) const fn anchor(&mut self, sequence: u32) {
        if self.bytes.is_empty() {
            self.start = Some(sequence.wrapping_add(1));
            self.is_anchored = true;
        }
    }

    /// Adds a segment, of which `missing` bytes at the end were not captured.
    pub(super) fn add(&mut self, sequence: u32, bytes: &[u8], missing: usize) {
        if self.is_closed || (bytes.is_empty() && missing == 0) {
            return;
        }
        let is_before = |start: u32| start.wrapping_sub(sequence).wrapping_sub(1) < MAX_AHEAD;
        if self.bytes.is_empty() && self.is_anchored && self.start.is_some_and(is_before) {
            // One byte keeps a connection alive. More are data of a capture that was put together by
            // hand, without counting the SYN.
            if bytes.len() == 1 {
                return;
            }
            self.start = Some(sequence);
        }
        let start = *self.start.get_or_insert(sequence);
        let next = start.wrapping_add(self.bytes.len() as u32);
        let ahead = sequence.wrapping_sub(next);
        if ahead == 0 {
            self.append(bytes, missing);
            self.take_waiting();
        } else if ahead < MAX_AHEAD {
            if self.waiting.len() < MAX_WAITING && missing == 0 {
                let kept = &bytes[..bytes.len().min(MAX_BYTES)];
                self.waiting.push((sequence, kept.to_vec()));
            }
        } else {
            self.add_behind(sequence, next, bytes, missing);
        }
    }

    /// A segment from before: sent again, perhaps with more, or late in a capture that began late.
    fn add_behind(&mut self, sequence: u32, next: u32, bytes: &[u8], missing: usize) {
        let known = next.wrapping_sub(sequence) as usize;
        if known < bytes.len() && known <= self.bytes.len() + bytes.len() {
            let is_overlap = known <= self.bytes.len();
            if is_overlap || self.is_anchored {
                self.append(&bytes[known..], missing);
                self.take_waiting();
                return;
            }
        }
        let is_right_before =
            self.start.is_some_and(|start| sequence.wrapping_add(bytes.len() as u32) == start);
        let has_room = self.bytes.len() + bytes.len() <= MAX_BYTES;
        if is_right_before && !self.is_anchored && missing == 0 && has_room {
            self.bytes.splice(0..0, bytes.iter().copied());
            self.first_len = bytes.len();
            self.start = Some(sequence);
        }
    }

    fn append(&mut self, bytes: &[u8], missing: usize) {
        let room = MAX_BYTES - self.bytes.len();
        let kept = bytes.len().min(room);
        if self.bytes.is_empty() {
            self.first_len = kept;
        }
        self.bytes.extend_from_slice(&bytes[..kept]);
        self.missing = missing + bytes.len() - kept;
        self.is_closed = missing > 0 || self.bytes.len() == MAX_BYTES;
    }

    fn take_waiting(&mut self) {
        while !self.is_closed
            && let Some(start) = self.start
        {
            let next = start.wrapping_add(self.bytes.len() as u32);
            let following = self.waiting.iter().position(|(sequence, bytes)| {
                let known = next.wrapping_sub(*sequence);
                known < MAX_AHEAD && (known as usize) < bytes.len()
            });
            let Some(index) = following else { return };
            let (sequence, bytes) = self.waiting.swap_remove(index);
            let known = next.wrapping_sub(sequence) as usize;
            self.append(&bytes[known..], 0);
        }
    }

    /// Whether nothing more is added.
    pub(super) const fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Bytes that it holds in memory.
    pub(super) fn held(&self) -> usize {
        self.bytes.len() + self.waiting.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
    }

    /// Ends it and returns its bytes; nothing if none came.
    ///
    /// Where the first segment was not captured, those that wait are the beginning.
    pub(super) fn close(&mut self) -> Option<Bytes> {
        if self.bytes.is_empty() && !self.is_closed {
            let start = self.start?;
            let first =
                self.waiting.iter().min_by_key(|(sequence, _)| sequence.wrapping_sub(start));
            if let Some((sequence, _)) = first {
                self.start = Some(*sequence);
                self.take_waiting();
            }
        }
        self.is_closed = true;
        self.waiting = Vec::new();
        let bytes = std::mem::take(&mut self.bytes);
        (!bytes.is_empty() || self.missing > 0).then_some(Bytes {
            bytes,
            first_len: self.first_len,
            missing: self.missing,
        })
    }
}

/// The bytes of a flight.
#[derive(Debug)]
pub(super) struct Bytes {
    pub(super) bytes: Vec<u8>,
    /// Bytes of the first segment.
    pub(super) first_len: usize,
    /// Bytes on the wire that were not captured or kept.
    pub(super) missing: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(syn: Option<u32>, segments: &[(u32, &[u8])]) -> Vec<u8> {
        let mut flight = Flight::default();
        if let Some(sequence) = syn {
            flight.anchor(sequence);
        }
        for (sequence, bytes) in segments {
            flight.add(*sequence, bytes, 0);
        }
        flight.close().map(|flight| flight.bytes).unwrap_or_default()
    }

    #[test]
    fn segments_are_put_in_order() {
        assert_eq!(
            flight(Some(99), &[(100, b"GET "), (104, b"/ HT"), (108, b"TP")]),
            b"GET / HTTP"
        );
        assert_eq!(
            flight(Some(99), &[(104, b"/ HT"), (108, b"TP"), (100, b"GET ")]),
            b"GET / HTTP"
        );
        assert_eq!(flight(None, &[(104, b"/ HT"), (100, b"GET ")]), b"GET / HT");
        let wrapped = u32::MAX - 1;
        assert_eq!(flight(None, &[(wrapped, b"GET "), (2, b"/")]), b"GET /");
    }

    #[test]
    fn what_is_sent_again_counts_once() {
        assert_eq!(flight(Some(99), &[(100, b"GET "), (100, b"GET "), (104, b"/")]), b"GET /");
        assert_eq!(flight(Some(99), &[(100, b"GET "), (100, b"GET / HT")]), b"GET / HT");
        assert_eq!(flight(Some(99), &[(102, b"T /"), (100, b"GET "), (102, b"T /")]), b"GET /");
    }

    #[test]
    fn the_byte_that_keeps_a_connection_alive_is_none_of_its_bytes() {
        assert_eq!(flight(Some(99), &[(99, b"\0"), (100, b"GET /")]), b"GET /");
    }

    #[test]
    fn data_that_begins_with_the_number_of_the_syn_is_data() {
        assert_eq!(flight(Some(1), &[(1, b"SSH-2.0-x"), (1, b"SSH-2.0-x")]), b"SSH-2.0-x");
    }

    #[test]
    fn a_gap_ends_it_and_a_lost_beginning_does_not() {
        assert_eq!(flight(Some(99), &[(100, b"GET "), (200, b"x")]), b"GET ");
        assert_eq!(flight(Some(99), &[(200, b"SSH-"), (204, b"2.0")]), b"SSH-2.0");
    }

    #[test]
    fn no_more_is_kept_than_is_looked_at() {
        let mut flight = Flight::default();
        for index in 0..10 {
            flight.add(index * 1000, &[7; 1000], 0);
            assert!(flight.held() <= MAX_BYTES);
        }
        assert!(flight.is_closed());
        let bytes = flight.close().expect("bytes");
        assert_eq!((bytes.bytes.len(), bytes.first_len, bytes.missing), (4096, 1000, 904));
    }
}
