//! Names of users, from `/etc/passwd` alone.
//!
//! A static binary has no name service switch: users of LDAP, systemd-homed or a container's own
//! database have no name here, or that of the host's user with the same id, whom the kernel takes
//! them for.

use std::{
    collections::HashMap,
    fs::{self, File, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Enough for some 100,000 users, and a bound for anything else.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// The user database of this host, read again when it has changed.
#[derive(Debug)]
pub(super) struct Users {
    path: PathBuf,
    /// Of the file as it was read.
    version: Option<Version>,
    names: HashMap<u32, String>,
}

/// What differs between a file and the one that took its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Users {
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), version: None, names: HashMap::new() }
    }

    /// Reads the file again if it has changed; one that cannot be read has no users.
    pub(super) fn refresh(&mut self) {
        let version = fs::metadata(&self.path).ok().map(Version::from);
        if version != self.version {
            self.names = read(&self.path).map(|file| parse(&file)).unwrap_or_default();
            self.version = version;
        }
    }

    pub(super) fn name(&self, id: u32) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }
}

/// The name of a group in the host's `/etc/group` (group(5)), which begins as `/etc/passwd` does.
pub fn group_name(id: u32) -> Option<String> {
    let mut groups = Users::new("/etc/group");
    groups.refresh();
    groups.name(id).map(str::to_owned)
}

impl From<Metadata> for Version {
    fn from(file: Metadata) -> Self {
        let modified = (file.mtime(), file.mtime_nsec());
        Self { inode: file.ino(), size: file.size(), modified }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// passwd(5): `name:password:id:…`. The first of several names of an id counts, as it does for
/// `getpwuid`; a malformed line is skipped.
fn parse(file: &[u8]) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in file.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().and_then(|name| str::from_utf8(name).ok());
        let id = fields.nth(1).and_then(|id| str::from_utf8(id).ok()?.parse().ok());
        // Names that begin so are instructions to the name service switch.
        if let (Some(name), Some(id)) = (name, id)
            && !name.is_empty()
            && !name.starts_with(['+', '-', '#'])
        {
            names.entry(id).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_first_name_of_an_id() {
        let file = b"root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\n\n# no:x:1:1\n+nis::2:2\n\
                     broken\nno-id:x:x:0\nkannel:x:104:65534:WAP:/var/run/kannel:/bin/false";
        let names = parse(file);
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!(names[&0], "root");
        assert_eq!(names[&104], "kannel");
    }

    #[test]
    fn reads_a_changed_file_again() {
        let path = std::env::temp_dir().join(format!("ghostport-passwd-{}", std::process::id()));
        let mut users = Users::new(&path);
        users.refresh();
        assert_eq!(users.name(7), None);
        fs::write(&path, "a:x:7:7::/:\n").expect("written");
        users.refresh();
        assert_eq!(users.name(7), Some("a"));
        fs::write(&path, "longer:x:7:7::/:\n").expect("written");
        users.refresh();
        assert_eq!(users.name(7), Some("longer"));
        fs::remove_file(&path).expect("removed");
        users.refresh();
        assert_eq!(users.name(7), None);
    }
}
