//! Builds BTF for tests.

use super::reader::{HEADER_LEN, KIND_STRUCT, MAGIC};

/// Types as a compiler would write them.
#[derive(Default)]
pub(super) struct Blob {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

/// A member: name, type, offset in bits, and width in bits for a bit field.
pub(super) type BlobMember = (&'static str, u32, u32, u32);

impl Blob {
    pub(super) fn add(
        &mut self,
        name: &str,
        kind: u32,
        count: usize,
        size: u32,
        rest: &[u32],
    ) -> u32 {
        let name = self.string(name);
        let kind_flag = 1 << 31;
        for word in [name, kind << 24 | count as u32 | kind_flag, size].iter().chain(rest) {
            self.types.extend(word.to_ne_bytes());
        }
        self.count += 1;
        self.count
    }

    pub(super) fn string(&mut self, text: &str) -> u32 {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        if text.is_empty() {
            return 0;
        }
        let at = self.strings.len();
        self.strings.extend(text.bytes().chain([0]));
        at as u32
    }

    pub(super) fn int(&mut self) -> u32 {
        self.add("int", 1, 0, 4, &[32])
    }

    pub(super) fn typedef(&mut self, target: u32) -> u32 {
        self.add("alias", 8, 0, target, &[])
    }

    pub(super) fn composite(&mut self, kind: u32, name: &str, members: &[BlobMember]) -> u32 {
        let mut words = Vec::new();
        for (name, target, at, width) in members {
            words.extend([self.string(name), *target, width << 24 | at]);
        }
        self.add(name, kind, members.len(), 64, &words)
    }

    pub(super) fn structure(&mut self, name: &str, members: &[BlobMember]) -> u32 {
        self.composite(KIND_STRUCT, name, members)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        let (len, strings_len) = (self.types.len() as u32, self.strings.len() as u32);
        for word in [HEADER_LEN, 0, len, len, strings_len] {
            bytes.extend(word.to_ne_bytes());
        }
        [&bytes[..], &self.types, &self.strings].concat()
    }
}
