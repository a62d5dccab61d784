//! TCP flows whose first payload was shorter than a sample: the segments behind it are sampled too, as
//! far as one sample would have reached, because a protocol may begin in the middle of a segment.
//!
//! What is known of such a flow is in the lower half of its word: the sequence number of its first
//! byte, as far as it distinguishes segments that are near; where the last segment began that was
//! sampled, so that a packet which several hooks see is sampled once; how many were; and when.

use crate::{
    flow_word::{FLOW, STATE},
    limits::SAMPLE_LEN,
};

/// Segments of one flow that are sampled at most.
const MAX_SEGMENTS: u64 = 7;

const LAST_SHIFT: u32 = 16;
const SEGMENTS_SHIFT: u32 = 24;
const WINDOW_SHIFT: u32 = 27;
const LAST: u64 = 0xff << LAST_SHIFT;
const SEGMENTS: u64 = MAX_SEGMENTS << SEGMENTS_SHIFT;
const WINDOW: u64 = 0x1f << WINDOW_SHIFT;
const _: () = assert!(SAMPLE_LEN <= 256, "offsets within a sample are bytes");

/// The word of a flow whose first payload began at this sequence number.
#[inline(always)]
pub const fn short_flight(flow: u64, start: u32, window: u32) -> u64 {
    let when = ((window as u64) << WINDOW_SHIFT) & WINDOW;
    flow & FLOW | when | 1 << SEGMENTS_SHIFT | start as u64 & 0xffff
}

/// Whether a word is of this flow and in that state.
#[inline(always)]
pub const fn is_short_flight(word: u64, flow: u64) -> bool {
    (word ^ flow) & FLOW == 0 && word & STATE == 0 && word & SEGMENTS != 0
}

/// Where a segment begins behind the first byte; [`SAMPLE_LEN`] and more is further than a sample
/// reaches, or before the first byte.
#[inline(always)]
pub const fn offset_in_flight(word: u64, sequence: u32) -> u32 {
    (sequence as u16).wrapping_sub(word as u16) as u32
}

/// Whether the segment at this offset was the last that was sampled, or the first.
#[inline(always)]
pub const fn is_repeated(word: u64, offset: u32) -> bool {
    offset == 0 || (word & LAST) >> LAST_SHIFT == offset as u64
}

/// The word after the segment at this offset; `None` if there were enough.
#[inline(always)]
pub const fn with_segment(word: u64, offset: u32) -> Option<u64> {
    if offset as usize >= SAMPLE_LEN || word & SEGMENTS == SEGMENTS {
        return None;
    }
    Some((word & !LAST | (offset as u64) << LAST_SHIFT) + (1 << SEGMENTS_SHIFT))
}

/// Whether the last of such a flow was seen some time ago.
#[inline(always)]
pub(crate) const fn is_over(word: u64, window: u32) -> bool {
    let age = (window as u64).wrapping_sub((word & WINDOW) >> WINDOW_SHIFT) & 0x1f;
    word & STATE == 0 && age >= 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sampling::{acknowledged, awaiting, is_free, is_settled, settled, was_settled};

    proptest! {
        #[test]
        fn segments_behind_the_first_are_found(
            flow: u64,
            start: u32,
            window: u32,
            offset in 0_u32..SAMPLE_LEN as u32,
        ) {
            let word = short_flight(flow, start, window);
            prop_assert!(is_short_flight(word, flow));
            prop_assert!(!is_short_flight(word, flow ^ 1 << 40));
            prop_assert_eq!(offset_in_flight(word, start.wrapping_add(offset)), offset);
            prop_assert!(offset_in_flight(word, start.wrapping_sub(1)) >= SAMPLE_LEN as u32);
            prop_assert_eq!(is_repeated(word, offset), offset == 0);
            let next = with_segment(word, offset).expect("a second segment");
            prop_assert!(is_short_flight(next, flow));
            prop_assert!(is_repeated(next, offset));
        }

        #[test]
        fn no_other_state_is_mistaken_for_it(flow: u64, start: u32, window: u32) {
            let word = short_flight(flow, start, window);
            for other in [
                awaiting(flow, start),
                acknowledged(flow, start),
                settled(flow, window, 0),
                0,
            ] {
                prop_assert!(!is_short_flight(other, flow));
            }
            prop_assert!(!is_settled(word, flow, window, 0));
            prop_assert!(!was_settled(word, flow, window));
            prop_assert!(!is_free(word, window));
            prop_assert!(!is_free(word, window.wrapping_add(1)));
            prop_assert!(is_free(word, window.wrapping_add(2)));
        }
    }

    #[test]
    fn segments_are_limited() {
        let mut word = short_flight(7 << 40, 5, 3);
        let mut segments = 1;
        while let Some(next) = with_segment(word, 9) {
            word = next;
            segments += 1;
        }
        assert_eq!(segments, MAX_SEGMENTS);
        assert_eq!(with_segment(short_flight(7 << 40, 5, 3), SAMPLE_LEN as u32), None);
    }
}
