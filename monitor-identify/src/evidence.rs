//! How much evidence a payload has for a structure.
//!
//! A field that random bytes match once in 2ⁿ times counts n bits. The bits of all fields add up to
//! the grade of a verdict. Legacy verdicts take [`ENOUGH`]: of ten million random and mutated
//! payloads none gets there. Single bytes never do: `byte[1] == 6`, the naive test for a WSP push,
//! is 8 bits.

use crate::{Grade, reader::is_printable};

/// Bits of evidence below which there is no legacy verdict, and no verdict is confirmed.
pub(crate) const ENOUGH: Evidence = Evidence(31);
/// Bits of evidence from which a verdict is consistent: one random payload in a million.
const CONSISTENT: Evidence = Evidence(20);
/// Bits of evidence from which a verdict is suspect: one random payload in sixteen thousand.
const SUSPECT: Evidence = Evidence(14);

/// Bits of evidence in a port that is registered for the protocol.
pub(crate) const REGISTERED_PORT: u32 = 4;

/// Bits of evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Evidence(u32);

impl Evidence {
    pub(crate) const fn bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The evidence in printable text: two of three bytes are not printable. Other text has none.
    pub(crate) fn of_text(text: &[u8]) -> Self {
        // More would let a long text outweigh what is wrong elsewhere.
        Self(if is_printable(text) { text.len().min(16) as u32 } else { 0 })
    }

    pub(crate) const fn add(&mut self, bits: u32) {
        self.0 += bits;
    }

    pub(crate) const fn join(&mut self, other: Self) {
        self.0 += other.0;
    }

    /// Whether it is enough although another field contradicts it.
    pub(crate) fn is_plenty(self) -> bool {
        self.0 >= ENOUGH.0 + 8
    }

    pub(crate) fn is_enough(self) -> bool {
        self >= ENOUGH
    }

    /// The grade that this much evidence makes; `None` if it makes no verdict.
    pub(crate) fn grade(self) -> Option<Grade> {
        match self {
            _ if self >= ENOUGH => Some(Grade::Confirmed),
            _ if self >= CONSISTENT => Some(Grade::Consistent),
            _ if self >= SUSPECT => Some(Grade::Suspect),
            _ => None,
        }
    }
}
