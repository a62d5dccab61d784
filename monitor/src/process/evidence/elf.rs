//! The build ids of an ELF file (elf(5)). Pure.

/// Segments that are looked at, and bytes of each.
const MAX_SEGMENTS: u16 = 64;
const MAX_NOTES: usize = 4096;

/// The longest id that is shown; those of linkers have 20 bytes, Go's 83.
const MAX_ID: usize = 128;

/// `PT_NOTE`, and the types of notes.
const SEGMENT_OF_NOTES: u32 = 4;
const GNU_BUILD_ID: u32 = 3;
const GO_BUILD_ID: u32 = 4;

/// The ids of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BuildIds {
    /// The GNU linker's, in hexadecimal digits.
    pub(super) gnu: Option<String>,
    /// The Go toolchain's.
    pub(super) go: Option<String>,
}

/// Integers of a file, in its byte order.
#[derive(Clone, Copy)]
struct Layout {
    is_64: bool,
    is_little: bool,
}

/// The ids of a file of which `read` returns bytes: so many from an offset, or fewer at its end. What is no
/// ELF file has none.
pub(super) fn build_ids(mut read: impl FnMut(u64, usize) -> Option<Vec<u8>>) -> BuildIds {
    find(&mut read).unwrap_or_default()
}

fn find(read: &mut impl FnMut(u64, usize) -> Option<Vec<u8>>) -> Option<BuildIds> {
    let header = read(0, 64)?;
    if !header.starts_with(b"\x7fELF") {
        return None;
    }
    let layout = Layout { is_64: *header.get(4)? == 2, is_little: *header.get(5)? == 1 };
    let (offset, size, count) = if layout.is_64 {
        (layout.u64(&header, 32)?, layout.u16(&header, 54)?, layout.u16(&header, 56)?)
    } else {
        (layout.u32(&header, 28)?.into(), layout.u16(&header, 42)?, layout.u16(&header, 44)?)
    };
    let mut ids = BuildIds::default();
    for index in 0..count.min(MAX_SEGMENTS) {
        let at = offset.checked_add(u64::from(index) * u64::from(size))?;
        let segment = read(at, 56)?;
        if layout.u32(&segment, 0)? != SEGMENT_OF_NOTES {
            continue;
        }
        let (at, length) = if layout.is_64 {
            (layout.u64(&segment, 8)?, layout.u64(&segment, 32)?)
        } else {
            (layout.u32(&segment, 4)?.into(), layout.u32(&segment, 16)?.into())
        };
        let length = usize::try_from(length).unwrap_or(MAX_NOTES).min(MAX_NOTES);
        let notes = read(at, length)?;
        layout.notes(&notes, &mut ids);
    }
    Some(ids)
}

impl Layout {
    /// Walks notes: sizes of name and content, the type, then both, each padded to four bytes.
    fn notes(self, notes: &[u8], ids: &mut BuildIds) -> Option<()> {
        let mut rest = notes;
        while rest.len() >= 12 {
            let name_size = usize::try_from(self.u32(rest, 0)?).ok()?;
            let size = usize::try_from(self.u32(rest, 4)?).ok()?;
            let kind = self.u32(rest, 8)?;
            let content_at = 12_usize.checked_add(padded(name_size)?)?;
            let name = rest.get(12..12_usize.checked_add(name_size)?)?;
            let content = rest.get(content_at..content_at.checked_add(size)?)?;
            match (name, kind) {
                (b"GNU\0", GNU_BUILD_ID) if size <= MAX_ID => ids.gnu = Some(hexadecimal(content)),
                (b"Go\0\0", GO_BUILD_ID) if size <= MAX_ID => {
                    ids.go = str::from_utf8(content).ok().map(str::to_owned);
                }
                _ => {}
            }
            rest = rest.get(content_at.checked_add(padded(size)?)?..)?;
        }
        Some(())
    }

    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    fn u64(self, bytes: &[u8], at: usize) -> Option<u64> {
        let bytes = bytes.get(at..at.checked_add(8)?)?.try_into().ok()?;
        Some(if self.is_little { u64::from_le_bytes(bytes) } else { u64::from_be_bytes(bytes) })
    }
}

const fn padded(size: usize) -> Option<usize> {
    size.checked_next_multiple_of(4)
}

/// Bytes in hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(file: &[u8]) -> BuildIds {
        build_ids(|at, size| {
            let rest = file.get(usize::try_from(at).ok()?..)?;
            Some(rest[..size.min(rest.len())].to_vec())
        })
    }

    /// A file with one segment of notes.
    fn file(notes: &[u8]) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(64, 0);
        file[32] = 64;
        file[54] = 56;
        file[56] = 1;
        let mut segment = vec![4, 0, 0, 0, 4, 0, 0, 0, 120, 0, 0, 0, 0, 0, 0, 0];
        segment.resize(56, 0);
        segment[32] = u8::try_from(notes.len()).expect("short");
        [file, segment, notes.to_vec()].concat()
    }

    const NOTES: &[u8] = b"\x04\0\0\0\x02\0\0\0\x01\0\0\0GNU\0\xff\xff\0\0\
        \x04\0\0\0\x04\0\0\0\x03\0\0\0GNU\0\x01\x02\xfe\xff\
        \x04\0\0\0\x03\0\0\0\x04\0\0\0Go\0\0a/b\0";

    #[test]
    fn finds_the_ids_of_both_toolchains() {
        let ids = BuildIds { gnu: Some("0102feff".into()), go: Some("a/b".into()) };
        assert_eq!(of(&file(NOTES)), ids);
        assert_eq!(of(b"#!/bin/sh\n"), BuildIds::default());
    }

    #[test]
    fn finds_its_own() {
        let own = std::fs::read("/proc/self/exe").expect("the test program");
        let ids = of(&own);
        assert!(ids.gnu.is_none_or(|id| id.len() == 40 || id.len() == 32), "SHA-1 or UUID");
    }

    proptest! {
        #[test]
        fn no_file_is_too_strange(
            mut bytes in prop::collection::vec(any::<u8>(), 0..256),
            changes in prop::collection::vec((0_usize..200, any::<u8>()), 0..8),
        ) {
            let _ = of(&bytes);
            bytes.splice(0..0, *b"\x7fELF");
            let _ = of(&bytes);
            let mut changed = file(NOTES);
            for (at, byte) in changes {
                if let Some(place) = changed.get_mut(at) {
                    *place = byte;
                }
            }
            let _ = of(&changed);
        }
    }
}
