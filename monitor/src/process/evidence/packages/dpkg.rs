//! dpkg's database: `status`, `diversions`, and `info/*.list` and `*.md5sums` (dpkg(1), deb-md5sums(5)).
//! Pure.

use std::io::{self, BufRead};

use memchr::memmem;

use super::lines::next_line;
use crate::process::evidence::facts::{Package, PackageManager};

/// What a path is called in the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// The names, the likeliest first.
    pub(super) paths: Vec<String>,
    /// The package whose file it is, because that has diverted the file of others.
    pub(super) only: Option<String>,
    /// The package whose file it is not, for the same reason.
    pub(super) never: Option<String>,
}

/// What a path may be called: packages that were made before `/bin` and `/usr/bin` became one have files
/// in `/bin`. `diversions` has three lines for each: path, where the others' file is instead, package.
pub(super) fn names(path: &str, diversions: &mut impl BufRead) -> io::Result<Names> {
    let alias = path
        .strip_prefix("/usr")
        .filter(|rest| ["/bin/", "/sbin/", "/lib"].iter().any(|folder| rest.starts_with(folder)));
    let mut paths: Vec<String> =
        [Some(path), alias].into_iter().flatten().map(Into::into).collect();
    let mut names = Names::default();
    let mut lines = [Vec::new(), Vec::new(), Vec::new()];
    'file: loop {
        for line in &mut lines {
            if !next_line(diversions, line)? {
                break 'file;
            }
        }
        let [from, to, by] = &lines;
        let is = |line: &Vec<u8>| paths.iter().any(|path| path.as_bytes() == line.as_slice());
        // `:` stands for a local diversion, which no package owns.
        let by = String::from_utf8_lossy(by).into_owned();
        if is(to) {
            paths = vec![String::from_utf8_lossy(from).into_owned()];
            names.never = Some(by);
            break;
        }
        if is(from) {
            names.only = Some(by);
            break;
        }
    }
    Ok(Names { paths, ..names })
}

/// The package and architecture of a list of files: `libc6:amd64.list`, `bash.list`.
pub(super) fn package_of_list(file_name: &str) -> Option<&str> {
    file_name.strip_suffix(".list").filter(|package| !package.is_empty())
}

/// Lists in the order in which they are searched: those of packages whose names have most in common with
/// the name of the file come first.
pub(super) fn sort_by_likelihood(lists: &mut [String], path: &str) {
    let name = path.rsplit('/').next().unwrap_or_default();
    let common = |list: &String| {
        list.bytes().zip(name.bytes()).take_while(|(one, other)| one == other).count()
    };
    lists.sort_by_cached_key(|list| (std::cmp::Reverse(common(list)), list.len()));
}

/// Whether a list has one of these paths, each on a line of its own.
pub(super) fn lists(list: &[u8], paths: &[String]) -> bool {
    paths.iter().filter(|path| !path.is_empty()).any(|path| {
        let path = path.as_bytes();
        let mut rest = list;
        while let Some(at) = memmem::find(rest, path) {
            let begins = at == 0 || rest[at - 1] == b'\n';
            let after = &rest[at + path.len()..];
            if begins && (after.is_empty() || after[0] == b'\n') {
                return true;
            }
            rest = &rest[at + 1..];
        }
        false
    })
}

/// The MD5 that a package has of one of these paths, in lower case.
pub(super) fn digest(md5sums: &mut impl BufRead, paths: &[String]) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    while next_line(md5sums, &mut line)? {
        let Some((digest, name)) = line.split_at_checked(32) else { continue };
        let name = name.strip_prefix(b"  ").unwrap_or_default();
        let is_it = paths.iter().any(|path| path.as_bytes().strip_prefix(b"/") == Some(name));
        if is_it && digest.iter().all(u8::is_ascii_hexdigit) {
            return Ok(Some(String::from_utf8_lossy(digest).to_ascii_lowercase()));
        }
    }
    Ok(None)
}

/// The package that `info/` calls `wanted`, which may have an architecture behind its name.
pub(super) fn package(status: &mut impl BufRead, wanted: &str) -> io::Result<Option<Package>> {
    let (name, architecture) = match wanted.split_once(':') {
        Some((name, architecture)) => (name, Some(architecture)),
        None => (wanted, None),
    };
    let (mut line, mut stanza) = (Vec::new(), Stanza::default());
    loop {
        let is_more = next_line(status, &mut line)?;
        if is_more && !line.is_empty() {
            stanza.add(&line);
            continue;
        }
        let is_it = stanza.name.as_deref() == Some(name)
            && architecture.is_none_or(|one| stanza.architecture.as_deref() == Some(one));
        if is_it && stanza.is_installed {
            return Ok(Some(Package {
                manager: PackageManager::Dpkg,
                name: name.to_owned(),
                version: stanza.version,
                origin: stanza.origin.or(stanza.maintainer),
            }));
        }
        if !is_more {
            return Ok(None);
        }
        stanza = Stanza::default();
    }
}

/// The fields of a package that are used.
#[derive(Default)]
struct Stanza {
    name: Option<String>,
    architecture: Option<String>,
    version: Option<String>,
    origin: Option<String>,
    maintainer: Option<String>,
    is_installed: bool,
}

impl Stanza {
    fn add(&mut self, line: &[u8]) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return };
        let value = || String::from_utf8_lossy(&line[colon + 1..]).trim().to_owned();
        match &line[..colon] {
            b"Package" => self.name = Some(value()),
            b"Architecture" => self.architecture = Some(value()),
            b"Version" => self.version = Some(value()),
            b"Origin" => self.origin = Some(value()),
            b"Maintainer" => self.maintainer = Some(value()),
            // "install ok installed": what is wanted, whether it is broken, and what it is.
            b"Status" => {
                let status = value();
                let state = status.rsplit(' ').next().unwrap_or_default();
                self.is_installed = !matches!(state, "config-files" | "not-installed");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATUS: &str = "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
        Package: bash\nEssential: yes\nStatus: install ok installed\nArchitecture: amd64\n\
        Maintainer: Matthias Klose <doko@debian.org>\nVersion: 5.2.37-2\nDescription: a shell\n \
        Version: 9\n\nPackage: libc6\nStatus: install ok installed\nArchitecture: i386\nVersion: \
        2.40\n\nPackage: libc6\nStatus: install ok half-configured\nArchitecture: amd64\n\
        Version: 2.41\nOrigin: Ubuntu";

    fn of(wanted: &str) -> Option<Package> {
        package(&mut STATUS.as_bytes(), wanted).expect("bytes")
    }

    #[test]
    fn finds_the_version_of_an_installed_package() {
        let bash = of("bash").expect("installed");
        assert_eq!(bash.version.as_deref(), Some("5.2.37-2"));
        assert_eq!(bash.origin.as_deref(), Some("Matthias Klose <doko@debian.org>"));
        let libc = of("libc6:amd64").expect("installed");
        assert_eq!(
            (libc.version.as_deref(), libc.origin.as_deref()),
            (Some("2.41"), Some("Ubuntu"))
        );
        assert_eq!((of("gone"), of("sh"), of("libc6:arm64")), (None, None, None));
    }

    #[test]
    fn a_list_has_whole_lines() {
        let list = b"/.\n/usr\n/usr/bin/bashbug\n/bin/bash\n";
        let has = |path: &str| lists(list, &[path.to_owned()]);
        assert!(has("/bin/bash") && has("/usr/bin/bashbug") && has("/."));
        assert!(!has("/usr/bin/bash") && !has("/bin") && !has("bash") && !has(""));
        assert!(lists(b"/bin/bash", &["/usr/bin/bash".into(), "/bin/bash".into()]));
    }

    #[test]
    fn a_merged_usr_has_two_names_and_a_diversion_another_one() {
        let diversions = "/bin/sh\n/bin/sh.distrib\ndash\n/usr/bin/x\n/usr/bin/x.real\n:\n";
        let of = |path: &str| names(path, &mut diversions.as_bytes()).expect("bytes");
        assert_eq!(of("/usr/bin/bash").paths, ["/usr/bin/bash", "/bin/bash"]);
        assert_eq!(of("/usr/share/x").paths, ["/usr/share/x"]);
        let real = of("/usr/bin/sh.distrib");
        assert_eq!((real.paths, real.never.as_deref()), (vec!["/bin/sh".into()], Some("dash")));
        let own = of("/usr/bin/sh");
        assert_eq!((own.only.as_deref(), own.never), (Some("dash"), None));
        assert_eq!(of("/usr/bin/x").only.as_deref(), Some(":"), "a file of no package");
    }

    #[test]
    fn likely_packages_are_searched_first() {
        let mut lists = ["zsh.list", "libpython3.13-minimal:amd64.list", "python3.list"]
            .map(str::to_owned)
            .to_vec();
        lists.push("python3.13-minimal.list".into());
        sort_by_likelihood(&mut lists, "/usr/bin/python3.13");
        assert_eq!(lists[0], "python3.13-minimal.list");
        assert_eq!(lists[1], "python3.list");
    }

    #[test]
    fn a_digest_is_that_of_the_whole_path() {
        let sums = "d41d8cd98f00b204e9800998ecf8427e  usr/bin/bashbug\n\
                    D41D8CD98F00B204E9800998ECF84270  bin/bash\nshort  bin/bash\n";
        let of = |path: &str| digest(&mut sums.as_bytes(), &[path.to_owned()]).expect("bytes");
        assert_eq!(of("/bin/bash").as_deref(), Some("d41d8cd98f00b204e9800998ecf84270"));
        assert_eq!(of("/bin/bas"), None);
    }

    proptest! {
        #[test]
        fn no_database_is_too_strange(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            text in "(Package: a|Status: x|Version|: |\n|\n\n|/bin/a|\\PC){0,40}",
        ) {
            let paths = ["/bin/a".to_owned()];
            for input in [bytes.as_slice(), text.as_bytes()] {
                let _ = package(&mut &*input, "a").expect("bytes");
                let _ = digest(&mut &*input, &paths).expect("bytes");
                let _ = names("/usr/bin/a", &mut &*input).expect("bytes");
                let by_lines = input.split(|byte| *byte == b'\n').any(|line| line == b"/bin/a");
                prop_assert_eq!(lists(input, &paths), by_lines);
            }
        }
    }
}
