//! Takes the kernel out of its self-extracting image, and modules out of their compression.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{arch::Arch, workspace::shown};

/// Magic numbers of what kernels and modules are compressed with, and the program that undoes it.
const COMPRESSIONS: &[(&[u8], &str)] = &[
    (&[0x02, 0x21, 0x4c, 0x18], "lz4"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
    (&[0xfd, b'7', b'z', b'X', b'Z'], "xz"),
    (&[0x1f, 0x8b], "gzip"),
];

/// What the emulator starts of a kernel's file.
pub(super) fn kernel_of(image: &Path, arch: Arch) -> Result<Vec<u8>> {
    let bytes = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    match arch {
        Arch::Amd64 => proper(&bytes, image),
        Arch::Arm64 => {
            ensure!(is_arm64_image(&bytes), "{}: no Image of an arm64 kernel", image.display());
            Ok(bytes)
        }
    }
}

/// Whether it is what an arm64 machine boots, uncompressed: `Documentation/arch/arm64/booting.rst`.
fn is_arm64_image(bytes: &[u8]) -> bool {
    const MAGIC: usize = 0x38;
    bytes.get(MAGIC..).is_some_and(|rest| rest.starts_with(b"ARM\x64"))
}

/// The kernel proper, an ELF file, of a bzImage: the emulator starts it without the detour through
/// real mode and decompression, which takes it longer than all the rest of a boot.
fn proper(bytes: &[u8], image: &Path) -> Result<Vec<u8>> {
    let payload = payload(bytes).with_context(|| format!("{}: no bzImage", image.display()))?;
    let kernel = decompressed(payload)?;
    ensure!(kernel.starts_with(b"\x7fELF"), "{}: no ELF file inside", image.display());
    Ok(kernel)
}

/// The compressed kernel in a bzImage, `Documentation/arch/x86/boot.rst`.
fn payload(image: &[u8]) -> Option<&[u8]> {
    const SETUP_SECTORS: usize = 0x1f1;
    const HEADER: usize = 0x202;
    const PAYLOAD_OFFSET: usize = 0x248;
    const PAYLOAD_LENGTH: usize = 0x24c;
    /// The decompressed size is appended to what is compressed.
    const SIZE_LEN: usize = 4;
    let word = |at: usize| Some(u32::from_le_bytes(*image.get(at..)?.first_chunk()?) as usize);
    if image.get(HEADER..)?.get(..4)? != b"HdrS" {
        return None;
    }
    let sectors = match image.get(SETUP_SECTORS)? {
        0 => 4,
        sectors => usize::from(*sectors),
    };
    let start = (sectors + 1) * 512 + word(PAYLOAD_OFFSET)?;
    image.get(start..start.checked_add(word(PAYLOAD_LENGTH)?.checked_sub(SIZE_LEN)?)?)
}

/// Undoes a compression; what is not compressed stays as it is.
pub(super) fn decompressed(bytes: &[u8]) -> Result<Vec<u8>> {
    let known = COMPRESSIONS.iter().find(|(magic, _)| bytes.starts_with(magic));
    let Some((_, program)) = known else {
        ensure!(bytes.starts_with(b"\x7fELF"), "compressed in a way that is not known here");
        return Ok(bytes.to_vec());
    };
    let mut command = Command::new(program);
    command.arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {}: cargo xtask setup", shown(&command)))?;
    let mut stdin = child.stdin.take().context("a pipe was asked for")?;
    let output = thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(bytes));
        child.wait_with_output()
    })?;
    if !output.status.success() {
        bail!("{} failed: {}", shown(&command), output.status);
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One setup sector, then five bytes of something else, then the payload and its size.
    fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 1024];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248..0x24c].copy_from_slice(&5_u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&(payload.len() as u32 + 4).to_le_bytes());
        image.extend([0xff; 5]);
        image.extend(payload);
        image.extend([0; 4]);
        image
    }

    #[test]
    fn the_payload_is_where_the_header_says() {
        assert_eq!(payload(&image(b"compressed")), Some(b"compressed".as_slice()));
    }

    #[test]
    fn what_is_cut_short_or_something_else_is_refused() {
        let image = image(b"compressed");
        assert_eq!(payload(&image[..image.len() - 10]), None);
        assert_eq!(payload(&[0; 4096]), None);
        assert_eq!(payload(b""), None);
    }

    #[test]
    fn an_arm64_image_is_known_by_its_magic() {
        let mut image = vec![0; 64];
        assert!(!is_arm64_image(&image));
        image[56..60].copy_from_slice(b"ARM\x64");
        assert!(is_arm64_image(&image));
        assert!(!is_arm64_image(&image[..58]));
    }

    #[test]
    fn plain_files_stay_as_they_are() {
        assert_eq!(decompressed(b"\x7fELF and so on").unwrap(), b"\x7fELF and so on");
        assert!(decompressed(b"anything").is_err());
    }
}
