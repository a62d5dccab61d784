//! Shares of the ring buffer of socket calls: so many records of one process, of one user and of one
//! control group.
//!
//! A share is a bucket of tokens in one word, which has the time at which the bucket is full again
//! (the generic cell rate algorithm, ATM Forum 1996). Words are found by a hash with keys that are
//! unknown outside this host; two that share a word share its tokens. Words are read and written
//! without a lock: a race gives a token too many, or takes one. Neither matters, because calls
//! beyond a share are counted and not lost.

/// How many tokens a bucket has, and how fast it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Tokens of a full bucket.
    pub burst: u64,
    /// Nanoseconds until there is another one.
    pub interval_ns: u64,
}

/// Of a process: as many as any needs that does not call in a loop.
pub const OF_PROCESS: Share = Share { burst: 128, interval_ns: 10_000_000 };

/// Of a user: half of the ring, if all are binds with a command line.
pub const OF_USER: Share = Share { burst: 192, interval_ns: 5_000_000 };

/// Of a control group.
pub const OF_GROUP: Share = Share { burst: 256, interval_ns: 4_000_000 };

/// Bits of the number of words that processes have, and users, and control groups.
pub const PROCESS_BITS: u32 = 10;
/// See [`PROCESS_BITS`].
pub const USER_BITS: u32 = 8;
/// See [`PROCESS_BITS`].
pub const GROUP_BITS: u32 = 8;

/// All words.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Shares {
    /// Of processes.
    pub processes: [u64; 1 << PROCESS_BITS],
    /// Of users.
    pub users: [u64; 1 << USER_BITS],
    /// Of control groups.
    pub groups: [u64; 1 << GROUP_BITS],
}

impl Shares {
    /// All buckets full: all zero, as a section without contents has to be.
    pub const FULL: Self = Self {
        processes: [0; 1 << PROCESS_BITS],
        users: [0; 1 << USER_BITS],
        groups: [0; 1 << GROUP_BITS],
    };
}

impl Share {
    /// The word after a token was taken at `now_ns`; `None` if there is none.
    #[inline(always)]
    pub const fn take(self, word: u64, now_ns: u64) -> Option<u64> {
        let full_at = if word > now_ns { word } else { now_ns };
        if full_at - now_ns > (self.burst - 1) * self.interval_ns {
            return None;
        }
        Some(full_at + self.interval_ns)
    }
}

/// The word of `owner` among two to the power of `bits`: the uppermost bits of a product with an odd
/// number, which depend on all of its bits (multiply-shift hashing).
#[inline(always)]
pub const fn word_index(owner: u64, key: u64, bits: u32) -> usize {
    (owner.wrapping_mul(key) >> (u64::BITS - bits)) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::sampling::FlowKeys;

    const SHARE: Share = Share { burst: 3, interval_ns: 10 };

    fn taken(word: &mut u64, now_ns: u64) -> usize {
        let mut taken = 0;
        while let Some(next) = SHARE.take(*word, now_ns) {
            *word = next;
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_bucket_has_its_burst_and_fills_with_time() {
        let mut word = 0;
        assert_eq!(taken(&mut word, 1_000), 3);
        assert_eq!(taken(&mut word, 1_009), 0);
        assert_eq!(taken(&mut word, 1_010), 1);
        assert_eq!(taken(&mut word, 1_025), 1);
        assert_eq!(taken(&mut word, 10_000), 3, "never more than its burst");
    }

    #[test]
    fn neighbours_have_words_of_their_own() {
        let key = FlowKeys::of_seed(7).0[0];
        let words: HashSet<usize> =
            (0..64).map(|process| word_index(process, key, PROCESS_BITS)).collect();
        assert!(words.len() > 48, "{}", words.len());
        assert!(words.iter().all(|word| *word < 1 << PROCESS_BITS));
    }
}
