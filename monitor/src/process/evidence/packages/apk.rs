//! Alpine's database, `/lib/apk/db/installed`: a stanza for each package, lines of a letter and a value.
//! Pure.

use std::io::{self, BufRead};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::lines::next_line;
use crate::process::evidence::{
    elf::hexadecimal,
    facts::{Package, PackageManager},
};

/// The package that has a file, and the SHA-1 that it has of it.
pub(super) fn find(
    installed: &mut impl BufRead,
    path: &str,
) -> io::Result<Option<(Package, Option<String>)>> {
    let Some((folder, name)) = path.trim_start_matches('/').rsplit_once('/') else {
        return Ok(None);
    };
    let none = || Package { manager: PackageManager::Apk, ..Package::default() };
    let (mut line, mut package) = (Vec::new(), none());
    let (mut is_in_folder, mut is_file) = (false, false);
    while next_line(installed, &mut line)? {
        let Some((letter, value)) = line.split_at_checked(2) else {
            if is_file {
                return Ok(Some((package, None)));
            }
            (package, is_in_folder) = (none(), false);
            continue;
        };
        if is_file && letter == b"Z:" {
            return Ok(Some((package, sha1(value))));
        }
        if is_file && matches!(letter, b"F:" | b"R:") {
            return Ok(Some((package, None)));
        }
        let text = || String::from_utf8_lossy(value).into_owned();
        match letter {
            b"P:" => package.name = text(),
            b"V:" => package.version = Some(text()),
            b"m:" => package.origin = Some(text()),
            b"F:" => is_in_folder = value == folder.as_bytes(),
            b"R:" => is_file = is_in_folder && value == name.as_bytes(),
            _ => {}
        }
    }
    Ok(is_file.then_some((package, None)))
}

/// `Q1` and the hash in base64, in hexadecimal digits.
fn sha1(value: &[u8]) -> Option<String> {
    let bytes = STANDARD.decode(value.strip_prefix(b"Q1")?).ok()?;
    (bytes.len() == 20).then(|| hexadecimal(&bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INSTALLED: &str = "C:Q1abc=\nP:musl\nV:1.2.5-r0\nm:Timo <timo@example.org>\nF:lib\n\
        R:ld-musl-x86_64.so.1\na:0:0:755\nZ:Q1eaWLf4QGF5V2mH8nCjvKcYv8cYQ=\n\n\
        P:busybox\nV:1.36.1-r29\no:busybox\nF:bin\nR:busybox\na:0:0:755\n\
        Z:Q1AAECAwQFBgcICQoLDA0ODxAREhM=\nF:etc\nR:busybox\nF:bin\nR:last";

    #[test]
    fn finds_a_file_with_its_digest() {
        let of = |path: &str| find(&mut INSTALLED.as_bytes(), path).expect("bytes");
        let (package, digest) = of("/bin/busybox").expect("found");
        assert_eq!((&*package.name, package.version.as_deref()), ("busybox", Some("1.36.1-r29")));
        assert_eq!(package.origin, None, "that of another package");
        assert_eq!(digest.as_deref(), Some("000102030405060708090a0b0c0d0e0f10111213"));
        let (package, _) = of("/lib/ld-musl-x86_64.so.1").expect("found");
        assert_eq!(package.origin.as_deref(), Some("Timo <timo@example.org>"));
        assert_eq!(of("/etc/busybox").expect("found").1, None, "without a digest");
        assert!(
            of("/bin/last").is_some() && of("/lib/busybox").is_none() && of("busybox").is_none()
        );
    }

    proptest! {
        #[test]
        fn no_database_is_too_strange(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            text in "([PVFRZm]:|Q1|bin|a|\n|\n\n|\\PC){0,60}",
        ) {
            let _ = find(&mut bytes.as_slice(), "/bin/a").expect("bytes");
            let _ = find(&mut text.as_bytes(), "/bin/a").expect("bytes");
        }
    }
}
