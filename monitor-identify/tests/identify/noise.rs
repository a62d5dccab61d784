//! Payloads without a meaning: random bytes, and what is left of samples after mutation.

use monitor_common::flow::Protocol;
use monitor_identify::Payload;

/// Bytes that mean something in some protocol: types, sizes, flags, limits.
const INTERESTING: [u8; 16] = [
    0x00, 0x01, 0x06, 0x07, 0x08, 0x0a, 0x1e, 0x1f, 0x7f, 0x80, 0x83, 0xae, 0xaf, 0xc3, 0xfe, 0xff,
];

/// A generator of numbers that repeats itself only after 2⁶⁴ of them: SplitMix64.
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.number() % end.max(1) as u64) as usize
    }

    /// Fills `bytes` with random ones, up to 256; short ones are as likely as long ones.
    pub(crate) fn fill(&mut self, bytes: &mut Vec<u8>) {
        let longest = 1 + self.below(256);
        let len = 1 + self.below(longest);
        bytes.clear();
        while bytes.len() < len {
            bytes.extend(self.number().to_le_bytes());
        }
        bytes.truncate(len);
        // Half of them get past the first look of a push.
        if len > 1 && self.below(2) == 0 {
            bytes[1] = 6 + self.below(2) as u8;
        }
    }

    /// Changes a sample in one to eight places.
    pub(crate) fn mutate(&mut self, sample: &[u8], other: &[u8], bytes: &mut Vec<u8>) {
        bytes.clear();
        bytes.extend(sample.iter().take(512));
        for _ in 0..=self.below(8) {
            let at = self.below(bytes.len());
            match self.below(7) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, INTERESTING[self.below(INTERESTING.len())]),
                2 => bytes.extend(other.iter().skip(self.below(other.len())).take(16)),
                3 if !bytes.is_empty() => {
                    bytes.remove(at);
                }
                4 if !bytes.is_empty() => bytes[at] = self.number() as u8,
                5 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                _ if !bytes.is_empty() => {
                    bytes[at] = INTERESTING[self.below(INTERESTING.len())];
                }
                _ => {}
            }
        }
    }

    /// The same bytes between ports of all kinds. Three bytes are a WTP acknowledgement on WTP's own
    /// port, by its size alone: noise there is longer.
    pub(crate) fn payload<'a>(&mut self, bytes: &'a [u8]) -> Payload<'a> {
        const PORTS: [u16; 12] =
            [2923, 2948, 2949, 3716, 3717, 2805, 3590, 9200, 9202, 9203, 9201, 40000];
        let ports = if bytes.len() > 4 { PORTS.len() } else { PORTS.len() - 2 };
        let mut port = || (self.below(4) > 0).then(|| PORTS[self.below(ports)]);
        let (source_port, destination_port) = (port(), port());
        let transport = [None, Some(Protocol::Udp), Some(Protocol::Udp), Some(Protocol::Tcp)];
        Payload {
            transport: transport[self.below(4)],
            source_port,
            destination_port,
            ..Payload::of(bytes)
        }
    }
}
