//! The watched ports as the kernel side sees them: a set to test, and an index for what is in it.
//!
//! The set is 8 KiB and stays in the first-level cache, so that a packet on another port costs two
//! bit tests, however many ports are watched. Only a hit reads the index.

/// A port as it lies in a packet: in network byte order.
///
/// Set and index are laid out by it, so that the ports of a packet are looked up as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct WirePort(pub u16);

impl WirePort {
    /// From host byte order.
    #[inline(always)]
    pub const fn of(port: u16) -> Self {
        Self(port.to_be())
    }

    /// In host byte order.
    #[inline(always)]
    pub const fn number(self) -> u16 {
        u16::from_be(self.0)
    }
}

/// One bit for every port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct PortSet {
    words: [u64; 1024],
}

impl PortSet {
    /// The set that holds no port.
    pub const EMPTY: Self = Self { words: [0; 1024] };

    /// Word and bit that stand for `port`.
    #[inline(always)]
    pub const fn position(port: WirePort) -> (usize, u32) {
        ((port.0 >> 6) as usize, (port.0 & 63) as u32)
    }

    /// Whether the set holds `port`.
    pub const fn contains(&self, port: u16) -> bool {
        let (word, bit) = Self::position(WirePort::of(port));
        self.words[word] >> bit & 1 != 0
    }

    /// Adds `port`.
    pub const fn insert(&mut self, port: u16) {
        let (word, bit) = Self::position(WirePort::of(port));
        self.words[word] |= 1 << bit;
    }
}

impl FromIterator<u16> for PortSet {
    fn from_iter<I: IntoIterator<Item = u16>>(ports: I) -> Self {
        let mut set = Self::EMPTY;
        for port in ports {
            set.insert(port);
        }
        set
    }
}

/// Index of every port's counters, by its [`WirePort`]; 0 for a port that was never watched.
///
/// An index, once given, is never given to another port: counters of a port that is watched again
/// go on where they were.
#[derive(Clone, Copy)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct PortIndex {
    indices: [u16; 65536],
}

impl PortIndex {
    /// No port was ever watched.
    pub const EMPTY: Self = Self { indices: [0; 65536] };

    /// Every port that has counters, and their index.
    pub fn given(&self) -> impl Iterator<Item = (u16, u16)> {
        let index = |port| self.indices[usize::from(WirePort::of(port).0)];
        (0..=u16::MAX).map(move |port| (port, index(port))).filter(|(_, index)| *index != 0)
    }

    /// Gives `port` the counters at `index`.
    pub const fn set(&mut self, port: u16, index: u16) {
        self.indices[WirePort::of(port).0 as usize] = index;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_holds_what_was_inserted() {
        let set: PortSet = [0, 63, 64, 2948, 65535].into_iter().collect();
        let held = (0..=u16::MAX).filter(|port| set.contains(*port));
        assert!(held.eq([0, 63, 64, 2948, 65535]));
    }

    #[test]
    fn index_gives_what_was_set() {
        let mut index = PortIndex::EMPTY;
        index.set(2948, 1);
        index.set(64, 2);
        assert!(index.given().eq([(64, 2), (2948, 1)]));
    }
}
