//! Bounds-checked access to the bytes of a packet.

/// Bounds-checked bytes of one packet.
///
/// They are read as 16-bit words, because all fields and lengths of headers are made of those, and
/// all headers lie at even addresses, where drivers put them for the sake of machines that cannot
/// read others. A compiler that may not assume this reads byte by byte.
pub trait PacketBytes {
    /// The `N` words at `offset`, which counts bytes, or `None` when any lies past the end.
    ///
    /// `scratch` is where an implementation may copy words that are not contiguous in memory.
    fn words<'a, const N: usize>(
        &'a self,
        offset: usize,
        scratch: &'a mut Words<N>,
    ) -> Option<&'a Words<N>>;
}

/// Words of a packet as they are in memory: in network byte order.
pub type Words<const N: usize> = [u16; N];

impl PacketBytes for [u8] {
    fn words<'a, const N: usize>(
        &'a self,
        offset: usize,
        scratch: &'a mut Words<N>,
    ) -> Option<&'a Words<N>> {
        let (pairs, _) = self.get(offset..)?.as_chunks();
        for (word, pair) in scratch.iter_mut().zip(pairs.get(..N)?) {
            *word = u16::from_ne_bytes(*pair);
        }
        Some(scratch)
    }
}

/// The byte of a word that comes first on the wire.
#[inline(always)]
pub(super) const fn first(word: u16) -> u8 {
    word.to_ne_bytes()[0]
}

/// The byte of a word that comes second on the wire.
#[inline(always)]
pub(super) const fn second(word: u16) -> u8 {
    word.to_ne_bytes()[1]
}
