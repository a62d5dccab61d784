//! Executables of the host that were seen at their paths.
//!
//! An upgrade replaces the file of a program that goes on running, and a program may end before it is
//! looked at. The numbers of its file say what it was.

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use monitor_common::socket_record::FileNumbers;
use monitor_kernel::{
    clock::boot_id,
    own_folder::{OwnFolder, check_file},
};
use serde::{Deserialize, Serialize};

use super::{bounded_read, file_numbers::OpenFile, generations::Generations, identity::Executable};
use crate::lock::lock;

/// Files that are remembered, twice as many at most.
const REMEMBERED: usize = 256;

/// Paths that are looked at in order to find a file by its numbers.
const MAX_EXPECTED: usize = 64;

/// Name of the file in which the next agent of this boot finds them.
const FILE: &str = "executables.json";

const SCHEMA: &str = "ghostport.executables/1";

/// The file. Numbers of devices are void after a boot.
#[derive(Serialize, Deserialize)]
struct Saved {
    schema: String,
    boot: String,
    files: Vec<SavedFile>,
}

#[derive(Serialize, Deserialize)]
struct SavedFile {
    major: u32,
    minor: u32,
    inode: u64,
    generation: u32,
    path: String,
}

/// Executables that were the host's file of their path. Clones share them.
#[derive(Clone, Default)]
pub struct HostFiles(Arc<Mutex<Known>>);

struct Known {
    files: Generations<Key, Seen>,
    /// Paths that the configuration names.
    expected: BTreeSet<String>,
    /// Whether there is more than what was saved.
    has_changed: bool,
}

/// Device and inode.
type Key = (u32, u32, u64);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    /// 0 if it is not known.
    generation: u32,
    path: String,
}

impl HostFiles {
    /// Those that an earlier agent of this boot saved in `folder`; none if there is no such file, or if it
    /// may be another user's.
    pub fn restored(folder: &Path) -> Self {
        let files = Self::default();
        match read(&folder.join(FILE)) {
            Ok(saved) if saved.schema == SCHEMA && saved.boot == boot_id() => {
                for SavedFile { major, minor, inode, generation, path } in saved.files {
                    files.remember(FileNumbers { major, minor, inode, generation }, &path);
                }
                files.lock().has_changed = false;
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "executables that an upgrade replaced are not known");
            }
            _ => {}
        }
        files
    }

    /// Saves them in `folder`, if there are new ones.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        let files = {
            let mut known = self.lock();
            if !std::mem::take(&mut known.has_changed) {
                return Ok(());
            }
            let saved = |(key, seen): (&Key, &Seen)| {
                let ((major, minor, inode), Seen { generation, path }) = (*key, seen.clone());
                SavedFile { major, minor, inode, generation, path }
            };
            known.files.iter().map(saved).collect()
        };
        let saved = Saved { schema: SCHEMA.to_owned(), boot: boot_id(), files };
        OwnFolder::open(folder)?.replace(FILE, &serde_json::to_vec(&saved)?, 0o640)
    }

    /// Remembers the files at paths that the configuration names, and looks there later for files that
    /// are not known.
    pub fn expect<'a>(&self, paths: impl Iterator<Item = &'a str>) {
        let paths: BTreeSet<String> = paths.take(MAX_EXPECTED).map(str::to_owned).collect();
        self.lock().expected.clone_from(&paths);
        for path in paths {
            if let Some(numbers) = look_at(&path, OpenFile::numbers).flatten() {
                self.remember(numbers, &path);
            }
        }
    }

    /// Remembers a file that is the host's at its path now.
    pub(super) fn remember(&self, numbers: FileNumbers, path: &str) {
        let mut known = self.lock();
        let seen = known.files.get(&key(&numbers)).filter(|seen| seen.path == path);
        let generation = match (seen, numbers.generation) {
            (Some(seen), 0) => seen.generation,
            (_, generation) => generation,
        };
        let seen = Seen { generation, path: path.to_owned() };
        if known.files.get(&key(&numbers)) != Some(&seen) {
            known.has_changed = true;
            known.files.insert(key(&numbers), seen);
        }
    }

    /// Whether the file was the host's of this path.
    pub(super) fn was_at(&self, numbers: &FileNumbers, path: &str) -> bool {
        let mut known = self.lock();
        let seen = known.files.get(&key(numbers));
        seen.is_some_and(|seen| seen.path == path && seen.may_be(numbers))
    }

    /// The path of a file of which its process shows nothing any more, and whether it is still there. The
    /// number of an inode is used again, so one that has gone is known by its generation alone.
    pub(super) fn find(&self, numbers: &FileNumbers) -> Option<Executable> {
        let seen = self.lock().files.get(&key(numbers)).cloned();
        if let Some(seen) = seen {
            let is_known = seen.generation != 0 && seen.generation == numbers.generation;
            let is_deleted = !is_at(&seen.path, numbers);
            let found = Executable { path: seen.path, is_deleted };
            return (is_known || !is_deleted).then_some(found);
        }
        let expected = self.lock().expected.clone();
        let path = expected.into_iter().find(|path| is_at(path, numbers))?;
        self.remember(*numbers, &path);
        Some(Executable { path, is_deleted: false })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        lock(&self.0)
    }
}

impl fmt::Debug for HostFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostFiles").finish_non_exhaustive()
    }
}

impl Default for Known {
    fn default() -> Self {
        Self { files: Generations::new(REMEMBERED), expected: BTreeSet::new(), has_changed: false }
    }
}

impl Seen {
    fn may_be(&self, numbers: &FileNumbers) -> bool {
        [self.generation, numbers.generation].contains(&0) || self.generation == numbers.generation
    }
}

fn read(path: &Path) -> io::Result<Saved> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    check_file(path, &found)?;
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

const fn key(numbers: &FileNumbers) -> Key {
    (numbers.major, numbers.minor, numbers.inode)
}

/// Whether the host's file at a path has these numbers.
fn is_at(path: &str, numbers: &FileNumbers) -> bool {
    let numbers = *numbers;
    look_at(path, move |file| file.is(&numbers)).flatten() == Some(true)
}

/// What `look` finds of the host's file at a path; `None` if there is none or it takes too long.
fn look_at<T: Send + 'static>(
    path: &str,
    look: impl FnOnce(&OpenFile) -> T + Send + 'static,
) -> Option<T> {
    let path = path.as_bytes().to_vec();
    let read = move || Ok(look(&OpenFile::of_host(&path)?));
    bounded_read::files_of(std::process::id(), read).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const NUMBERS: FileNumbers = FileNumbers { major: 8, minor: 1, inode: 4711, generation: 7 };
    const PATH: &str = "/usr/sbin/ghostport-test-of-host-files";

    #[test]
    fn a_file_that_was_replaced_is_known() {
        let files = HostFiles::default();
        files.remember(NUMBERS, PATH);
        assert!(files.was_at(&NUMBERS, PATH));
        assert!(files.was_at(&FileNumbers { generation: 0, ..NUMBERS }, PATH));
        assert!(!files.was_at(&NUMBERS, "/tmp/other"));
        assert!(!files.was_at(&FileNumbers { generation: 8, ..NUMBERS }, PATH));
        assert!(!files.was_at(&FileNumbers { inode: 4712, ..NUMBERS }, PATH));
        // What was known of it stays.
        files.remember(FileNumbers { generation: 0, ..NUMBERS }, PATH);
        assert!(!files.was_at(&FileNumbers { generation: 8, ..NUMBERS }, PATH));
    }

    #[test]
    fn the_next_agent_knows_them() {
        let folder = std::env::temp_dir().join(format!("ghostport-known-{}", std::process::id()));
        drop(OwnFolder::open_or_make(&folder, 0o755).expect("a folder"));
        let files = HostFiles::default();
        files.remember(NUMBERS, PATH);
        files.save(&folder).expect("saved");
        let next = HostFiles::restored(&folder);
        assert!(next.was_at(&NUMBERS, PATH));
        fs::remove_file(folder.join(FILE)).expect("removed");
        next.save(&folder).expect("nothing new");
        assert!(!folder.join(FILE).exists());
        assert!(!HostFiles::restored(&folder).was_at(&NUMBERS, PATH));
        fs::write(folder.join(FILE), "{").expect("written");
        assert!(!HostFiles::restored(&folder).was_at(&NUMBERS, PATH));
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn the_number_of_an_inode_alone_names_no_file() {
        let files = HostFiles::default();
        files.remember(NUMBERS, PATH);
        let replaced = Executable { path: PATH.to_owned(), is_deleted: true };
        assert_eq!(files.find(&NUMBERS), Some(replaced));
        assert_eq!(files.find(&FileNumbers { generation: 8, ..NUMBERS }), None);
        let without = FileNumbers { generation: 0, inode: 1, ..NUMBERS };
        files.remember(without, PATH);
        assert_eq!(files.find(&without), None, "it is not there");
    }

    #[test]
    fn an_expected_file_is_found_by_its_numbers() {
        let path = std::env::temp_dir().join(format!("ghostport-host-{}", std::process::id()));
        fs::write(&path, "").expect("written");
        let path = path.to_str().expect("UTF-8");
        let numbers = look_at(path, OpenFile::numbers).flatten();
        let files = HostFiles::default();
        if let Some(numbers) = numbers {
            assert_eq!(files.find(&numbers), None);
            files.expect([path].into_iter());
            let there = Executable { path: path.to_owned(), is_deleted: false };
            assert_eq!(files.find(&numbers), Some(there));
        }
        fs::remove_file(path).expect("removed");
        if let Some(numbers) = numbers {
            assert_eq!(files.find(&numbers), None, "it has gone");
            assert!(files.was_at(&numbers, path));
        }
    }
}
