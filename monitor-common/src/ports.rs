//! The watched ports as the kernel side sees them: a set to test, and an index for what is in it.
//!
//! The set is 8 KiB and stays in the first-level cache, so that a packet on another port costs two
//! bit tests, however many ports are watched. Only a hit reads the index.

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

    /// Whether the set holds `port`.
    #[inline(always)]
    pub const fn contains(&self, port: u16) -> bool {
        self.words[(port >> 6) as usize] & (1 << (port & 63)) != 0
    }

    /// Adds `port`.
    pub const fn insert(&mut self, port: u16) {
        self.words[(port >> 6) as usize] |= 1 << (port & 63);
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

/// Index of every port's counters; 0 for a port that was never watched.
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
    /// Index of the counters of `port`, if it has any.
    #[inline(always)]
    pub const fn get(&self, port: u16) -> Option<u16> {
        match self.indices[port as usize] {
            0 => None,
            index => Some(index),
        }
    }

    /// Gives `port` the counters at `index`.
    pub const fn set(&mut self, port: u16, index: u16) {
        self.indices[port as usize] = index;
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
}
