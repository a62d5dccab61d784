//! Archives in the form in which the kernel unpacks its first filesystem: cpio, "newc", as in
//! `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::path::{Component, Path};

/// Bits of a mode, `include/uapi/linux/stat.h`.
const DIRECTORY: u32 = 0o040_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const REGULAR: u32 = 0o100_000;

/// An archive in the making. Folders come before what is in them, each once.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    names: Vec<String>,
}

impl Archive {
    /// Adds a folder, and those above it.
    pub(super) fn folder(&mut self, path: &Path) {
        let mut name = String::new();
        for part in path.components() {
            let Component::Normal(part) = part else { continue };
            if !name.is_empty() {
                name.push('/');
            }
            name.push_str(&part.to_string_lossy());
            self.entry(&name, DIRECTORY | 0o755, (0, 0), &[]);
        }
    }

    /// Adds a file that everybody may run.
    pub(super) fn file(&mut self, path: &Path, content: &[u8]) {
        self.folder(path.parent().unwrap_or(path));
        self.entry(&name_of(path), REGULAR | 0o755, (0, 0), content);
    }

    /// Adds a character device by its two numbers.
    pub(super) fn device(&mut self, path: &Path, numbers: (u32, u32)) {
        self.folder(path.parent().unwrap_or(path));
        self.entry(&name_of(path), CHARACTER_DEVICE | 0o600, numbers, &[]);
    }

    /// The archive with its end mark.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.write("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    /// A name that is there already stays what it is.
    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        if self.names.iter().any(|known| known == name) {
            return;
        }
        self.names.push(name.to_owned());
        self.write(name, mode, device, content);
    }

    fn write(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        let inode = self.names.len() as u32;
        let (major, minor) = device;
        let (size, name_size) = (content.len() as u32, name.len() as u32 + 1);
        self.bytes.extend(b"070701");
        // Owner, group, and the device that the file is on are 0, and so is the checksum.
        for field in [inode, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name_size, 0] {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes().chain([0]));
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

fn name_of(path: &Path) -> String {
    path.to_string_lossy().trim_start_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_header_name_content() {
        let mut archive = Archive::default();
        archive.file(Path::new("/f"), b"hello");
        let bytes = archive.finish();
        let text = String::from_utf8(bytes).unwrap();
        let header = "070701\
            0000000100008\
            1ed0000000000000000\
            0000000100000000\
            00000005";
        assert!(text.starts_with(header), "{text}");
        let name_and_content = "f\0hello\0\0\0";
        assert_eq!(&text[110..][..name_and_content.len()], name_and_content);
        assert!(text.trim_end_matches('\0').ends_with("TRAILER!!!"));
        assert_eq!(text.len() % 4, 0);
    }

    #[test]
    fn folders_come_first_and_once() {
        let mut archive = Archive::default();
        archive.file(Path::new("/a/b/one"), b"");
        archive.file(Path::new("/a/b/two"), b"");
        assert_eq!(archive.names, ["a", "a/b", "a/b/one", "a/b/two"]);
    }

    #[test]
    fn a_device_has_its_numbers() {
        let mut archive = Archive::default();
        archive.device(Path::new("/console"), (5, 1));
        let text = String::from_utf8(archive.finish()).unwrap();
        // The ninth and tenth field after the magic number.
        assert_eq!(&text[6 + 9 * 8..6 + 11 * 8], "0000000500000001");
    }
}
