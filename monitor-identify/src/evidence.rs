//! How much speaks for a structure.
//!
//! A field that random bytes fill rightly once in 2ⁿ times counts n bits. Fields are summed up, and
//! [`ENOUGH`] of them make a verdict: of ten million random and mutated payloads none gets there.
//! Single bytes never do: `byte[1] == 6`, the naive test for a WSP push, is 8 bits.

use crate::reader::is_printable;

/// Bits of evidence below which there is no verdict.
pub(crate) const ENOUGH: Evidence = Evidence(31);

/// Bits of evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Evidence(u32);

impl Evidence {
    pub(crate) const fn bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Of printable text: two of three bytes are none. Other text is no evidence.
    pub(crate) fn of_text(text: &[u8]) -> Self {
        // More would let a long text make up for what is wrong elsewhere.
        Self(if is_printable(text) { text.len().min(16) as u32 } else { 0 })
    }

    pub(crate) const fn add(&mut self, bits: u32) {
        self.0 += bits;
    }

    pub(crate) const fn join(&mut self, other: Self) {
        self.0 += other.0;
    }

    /// Whether it is enough although something speaks against it.
    pub(crate) fn is_plenty(self) -> bool {
        self.0 >= ENOUGH.0 + 8
    }

    pub(crate) fn is_enough(self) -> bool {
        self >= ENOUGH
    }
}
