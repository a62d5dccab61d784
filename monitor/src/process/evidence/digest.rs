//! Hashes of a file, in one pass.

use std::{fs::File, io, sync::Arc};

use md5::{Digest as _, Md5};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use super::{
    elf::hexadecimal,
    steps::{Contents, Steps},
};

/// What packages have of their files. Only to compare with: MD5 and SHA-1 prove nothing against a person
/// who makes files with equal hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Md5,
    Sha1,
    Sha256,
}

/// A hash as a package has it, in lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PackageDigest {
    pub(super) algorithm: Algorithm,
    pub(super) value: String,
}

/// The hashes of a file.
#[derive(Clone, Debug)]
pub(super) struct Digests {
    pub(super) sha256: String,
    /// The other one that was wanted.
    pub(super) other: Option<PackageDigest>,
}

enum Other {
    Md5(Md5),
    Ring(Algorithm, Context),
}

impl Digests {
    /// Reads a file of `size` bytes to its end.
    ///
    /// # Errors
    ///
    /// `InvalidData` if it is not as long as it was; it cannot be read.
    pub(super) fn of(
        file: &Arc<File>,
        size: u64,
        other: Option<Algorithm>,
        steps: &Steps,
    ) -> io::Result<Self> {
        let mut sha256 = Context::new(&SHA256);
        let mut other = other.and_then(Other::new);
        let mut contents = Contents::new(steps.clone(), Arc::clone(file), size.saturating_add(1));
        let mut length = 0;
        loop {
            let bytes = contents.next_bytes()?;
            if bytes.is_empty() {
                break;
            }
            length += bytes.len() as u64;
            sha256.update(bytes);
            match &mut other {
                Some(Other::Md5(md5)) => md5.update(bytes),
                Some(Other::Ring(_, context)) => context.update(bytes),
                None => {}
            }
        }
        if length != size {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let sha256 = hexadecimal(sha256.finish().as_ref());
        Ok(Self { sha256, other: other.map(Other::finish) })
    }

    /// Whether the file has this hash; `None` if that was not computed.
    pub(super) fn has(&self, digest: &PackageDigest) -> Option<bool> {
        if digest.algorithm == Algorithm::Sha256 {
            return Some(self.sha256 == digest.value);
        }
        let other = self.other.as_ref().filter(|other| other.algorithm == digest.algorithm)?;
        Some(other.value == digest.value)
    }

    /// Whether the hash that a package has can be compared.
    pub(super) fn knows(&self, algorithm: Option<Algorithm>) -> bool {
        algorithm.is_none_or(|algorithm| {
            algorithm == Algorithm::Sha256
                || self.other.as_ref().is_some_and(|other| other.algorithm == algorithm)
        })
    }
}

impl Other {
    fn new(algorithm: Algorithm) -> Option<Self> {
        let ring = match algorithm {
            Algorithm::Md5 => return Some(Self::Md5(Md5::new())),
            Algorithm::Sha256 => return None,
            Algorithm::Sha1 => &SHA1_FOR_LEGACY_USE_ONLY,
        };
        Some(Self::Ring(algorithm, Context::new(ring)))
    }

    fn finish(self) -> PackageDigest {
        let (algorithm, value) = match self {
            Self::Md5(md5) => (Algorithm::Md5, hexadecimal(&md5.finalize())),
            Self::Ring(algorithm, context) => (algorithm, hexadecimal(context.finish().as_ref())),
        };
        PackageDigest { algorithm, value }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn hashes_a_file_in_one_pass() {
        let path = std::env::temp_dir().join(format!("ghostport-digest-{}", std::process::id()));
        std::fs::write(&path, "abc").expect("written");
        let file = Arc::new(File::open(&path).expect("open"));
        let steps = Steps::new(std::process::id(), Instant::now() + Duration::from_secs(60));
        let of = |other| Digests::of(&file, 3, Some(other), &steps).expect("hashes");
        let md5 = of(Algorithm::Md5);
        assert_eq!(md5.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let digest = |algorithm, value: &str| PackageDigest { algorithm, value: value.into() };
        let known = digest(Algorithm::Md5, "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(md5.has(&known), Some(true));
        assert_eq!(md5.has(&digest(Algorithm::Md5, "00")), Some(false));
        let sha1 = digest(Algorithm::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!((md5.has(&sha1), of(Algorithm::Sha1).has(&sha1)), (None, Some(true)));
        assert!(Digests::of(&file, 2, None, &steps).is_err(), "it is longer than it was");
        assert_eq!(steps.bytes(), 9);
        std::fs::remove_file(&path).expect("removed");
    }
}
