//! TCP flows whose first payload was shorter than [`FLIGHT_LEN`]: what follows is sampled too, as far
//! as that, because a message may go on in the next segment.
//!
//! What is known of such a flow is in its word: the sequence number of its first byte, as far as it
//! distinguishes segments that are near; how many segments were sampled, and in which second the last
//! one. Where the upper bits of the flow would be, which are the index of the word anyway, is the
//! beginning of the last segment, so that a packet which several hooks see is sampled once.

use crate::{
    flow_word::{FLOW, FLOW_IN_SLOT, STATE},
    limits::FLIGHT_LEN,
};

/// Segments of one flow that are sampled at most: 4 KiB in segments of 64 bytes.
const MAX_SEGMENTS: u64 = 63;

/// Renewals of the budgets after which nothing more is awaited: one to two seconds.
const TIMEOUT: u64 = 2;

const SEGMENTS_SHIFT: u32 = 16;
const SECOND_SHIFT: u32 = 22;
const LAST_SHIFT: u32 = 52;
const SEGMENTS: u64 = MAX_SEGMENTS << SEGMENTS_SHIFT;
const SECOND: u64 = 0x3ff << SECOND_SHIFT;
const LAST: u64 = !FLOW_IN_SLOT & FLOW;
const _: () = assert!(LAST == 0xfff << LAST_SHIFT, "offsets within a flight are twelve bits");
const _: () = assert!(FLIGHT_LEN <= 1 << 12);
const _: () = assert!(SEGMENTS & SECOND == 0 && (SEGMENTS | SECOND) < STATE & STATE.wrapping_neg());

/// The word of a flow whose first payload began at this sequence number.
#[inline(always)]
pub const fn open_flight(flow: u64, start: u32, second: u32) -> u64 {
    flow & FLOW_IN_SLOT | when(second) | 1 << SEGMENTS_SHIFT | start as u64 & 0xffff
}

/// Whether a word is of this flow and in that state.
#[inline(always)]
pub const fn is_open_flight(word: u64, flow: u64, second: u32) -> bool {
    (word ^ flow) & FLOW_IN_SLOT == 0
        && word & STATE == 0
        && word & SEGMENTS != 0
        && age(word, second) < TIMEOUT
}

/// Where a segment begins behind the first byte; [`FLIGHT_LEN`] and more is further than a flight
/// reaches, or before the first byte.
#[inline(always)]
pub const fn offset_in_flight(word: u64, sequence: u32) -> u32 {
    (sequence as u16).wrapping_sub(word as u16) as u32
}

/// Whether the segment at this offset was the last that was sampled, or the first.
#[inline(always)]
pub const fn is_repeated(word: u64, offset: u32) -> bool {
    offset == 0 || word >> LAST_SHIFT == offset as u64
}

/// The word after the segment at this offset; `None` if there were enough.
#[inline(always)]
pub const fn with_segment(word: u64, offset: u32, second: u32) -> Option<u64> {
    if offset as usize >= FLIGHT_LEN || word & SEGMENTS == SEGMENTS {
        return None;
    }
    let word = word & !(LAST | SECOND) | when(second) | (offset as u64) << LAST_SHIFT;
    Some(word + (1 << SEGMENTS_SHIFT))
}

/// Whether the last of such a flow was seen some time ago.
#[inline(always)]
pub(crate) const fn is_over(word: u64, second: u32) -> bool {
    word & STATE == 0 && age(word, second) >= TIMEOUT
}

#[inline(always)]
const fn when(second: u32) -> u64 {
    (second as u64) << SECOND_SHIFT & SECOND
}

/// Seconds since the last segment.
#[inline(always)]
const fn age(word: u64, second: u32) -> u64 {
    when(second).wrapping_sub(word & SECOND) >> SECOND_SHIFT & (SECOND >> SECOND_SHIFT)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sampling::{
        acknowledged, awaited, awaiting, conversation_index, is_free, is_of_other, is_settled,
        settled, was_settled,
    };

    proptest! {
        #[test]
        fn segments_behind_the_first_are_found(
            flow: u64,
            start: u32,
            second: u32,
            offset in 0_u32..FLIGHT_LEN as u32,
        ) {
            let word = open_flight(flow, start, second);
            prop_assert!(is_open_flight(word, flow, second));
            prop_assert!(is_open_flight(word, flow, second.wrapping_add(1)));
            prop_assert!(!is_open_flight(word, flow, second.wrapping_add(2)));
            prop_assert!(!is_open_flight(word, flow ^ 1 << 40, second));
            prop_assert_eq!(offset_in_flight(word, start.wrapping_add(offset)), offset);
            prop_assert!(offset_in_flight(word, start.wrapping_sub(1)) >= FLIGHT_LEN as u32);
            prop_assert_eq!(is_repeated(word, offset), offset == 0);
            let later = second.wrapping_add(2);
            let next = with_segment(word, offset, later).expect("a second segment");
            prop_assert!(is_open_flight(next, flow, later));
            prop_assert!(is_repeated(next, offset));
            prop_assert_eq!(offset_in_flight(next, start), 0);
        }

        #[test]
        fn no_other_state_is_mistaken_for_it(flow: u64, start: u32, window: u32, second: u32) {
            let first = open_flight(flow, start, second);
            let last = with_segment(first, 0xabc, second).expect("a second segment");
            for word in [first, last] {
                // Another flow with the same index.
                prop_assert!(is_of_other(word, flow ^ 1 << 40));
                prop_assert!(!is_of_other(word, flow));
                prop_assert!(!is_settled(word, flow, window, 0));
                prop_assert!(!was_settled(word, flow, window));
                prop_assert_eq!(awaited(word, flow), None);
                prop_assert!(!is_free(word, window, second));
                prop_assert!(!is_free(word, window, second.wrapping_add(1)));
                prop_assert!(is_free(word, window, second.wrapping_add(2)));
            }
            let others = [
                awaiting(flow, start),
                acknowledged(flow, start),
                settled(flow, window, 0),
                0,
            ];
            for other in others {
                prop_assert!(!is_open_flight(other, flow, second));
            }
        }

        #[test]
        fn what_the_word_leaves_out_is_its_index(flow: u64, other: u64) {
            let other = flow & LAST | other & !LAST;
            prop_assert_eq!(conversation_index(flow), conversation_index(other));
            let is_same = (flow ^ other) & FLOW_IN_SLOT == 0;
            prop_assert_eq!(is_same, (flow ^ other) & FLOW == 0);
        }
    }

    #[test]
    fn segments_are_limited() {
        let mut word = open_flight(7 << 40, 5, 3);
        let mut segments = 1;
        while let Some(next) = with_segment(word, 9, 3) {
            word = next;
            segments += 1;
        }
        assert_eq!(segments, MAX_SEGMENTS);
        assert_eq!(with_segment(open_flight(7 << 40, 5, 3), FLIGHT_LEN as u32, 3), None);
    }
}
