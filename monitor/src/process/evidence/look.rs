//! One look at the file that a process executes.

use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rustix::fs::{AtFlags, StatxFlags, statx};

use super::{
    digest::{Algorithm, Digests, PackageDigest},
    elf::{self, BuildIds},
    facts::{ExecutableFacts, FileFacts},
    interpreter,
    packages::{self, Owner},
    steps::Steps,
};
use crate::{
    lock::lock,
    process::{
        foreign_path::{Root, regular},
        generations::Generations,
        identity::Identity,
        start_time::StartTime,
    },
};

/// Files that are remembered, twice as many at most.
const REMEMBERED: usize = 256;

/// What a package database says of a file is read again after this time.
const PACKAGE_FRESH: Duration = Duration::from_secs(3600);

/// A file that was changed so recently may change again without that showing in its times.
const SETTLED_NS: i128 = 2_000_000_000;

/// A file that changed while it was read is read again, so often at most.
const TRIES: usize = 3;

/// Folders on a path at most.
const MAX_FOLDERS: usize = 64;

/// `MFD_` files have this in the place of a folder.
const MEMFD: &str = "/memfd:";

/// Why a file has no hash.
pub(super) mod unread {
    pub(in super::super) const GONE: &str = "the process ended before it was read";
    pub(in super::super) const LATE: &str = "it could not be read in time";
    pub(in super::super) const BUSY: &str = "too many others were to be read";
    pub(super) const LARGE: &str = "it is larger than evidence.max_size";
    pub(super) const OFF: &str = "evidence.max_size is none";
    pub(super) const DENIED: &str = "the agent may not read it";
    pub(super) const SERVED: &str = "a program of a user may serve it";
    pub(super) const CHANGED: &str = "it changed while it was read";
    pub(super) const BROKEN: &str = "it cannot be read";
}

/// A file by device, inode, size and change time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileKey {
    device: (u32, u32),
    inode: u64,
    size: u64,
    changed: (i64, u32),
}

/// What the kernel says of a file.
#[derive(Clone, Copy, Debug)]
struct Stat {
    key: FileKey,
    mode: u32,
    links: u32,
}

/// A process whose executable is to be looked at, with what has to be open for that.
#[derive(Debug)]
pub(super) struct Target {
    pid: u32,
    path: String,
    is_hosts: bool,
    is_deleted: bool,
    arguments: Vec<String>,
    executable: Arc<OwnedFd>,
    root: Arc<Root>,
    /// Where the package of the executable is looked for.
    packages: Arc<Root>,
    /// Whether it sees the host's files.
    has_hosts_files: bool,
    folder: Option<String>,
}

/// What is known of files, whatever process executes them.
#[derive(Debug)]
pub(super) struct KnownFiles(Mutex<Known>);

#[derive(Debug)]
struct Known {
    contents: Generations<FileKey, (Digests, BuildIds)>,
    /// Of files of the host, by their paths.
    owners: Generations<(FileKey, String), (Instant, Option<Owner>)>,
}

impl Default for KnownFiles {
    fn default() -> Self {
        let (contents, owners) = (Generations::new(REMEMBERED), Generations::new(REMEMBERED));
        Self(Mutex::new(Known { contents, owners }))
    }
}

impl Target {
    /// Opens what belongs to a process, as paths: the file is read later, also if the process has ended by
    /// then.
    ///
    /// # Errors
    ///
    /// The process has ended, may not be looked at, or another one has its id.
    pub(super) fn open(identity: &Identity) -> io::Result<Self> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let executable = identity.executable.as_ref().ok_or_else(missing)?;
        let start = StartTime::at(identity.start_time_ns.ok_or_else(missing)?);
        let (process, _) = start.find(identity.pid)?;
        let arguments = identity.command_line.as_ref().map(|line| line.arguments.clone());
        Ok(Self {
            pid: identity.pid,
            path: executable.path.clone(),
            is_hosts: identity.executable_is_hosts,
            is_deleted: executable.is_deleted,
            arguments: arguments.unwrap_or_default(),
            executable: Arc::new(process.open_path("exe")?),
            root: Arc::new(Root::of_folder(process.open_path("root")?, identity.pid)),
            packages: Arc::new(if identity.executable_is_hosts {
                Root::of_host()?.try_clone()?
            } else {
                Root::of_folder(process.open_path("root")?, identity.pid)
            }),
            has_hosts_files: identity.is_in_hosts_mount_namespace,
            folder: process.current_folder(),
        })
    }

    /// The script that its arguments name, by its path in the root of the process.
    pub(super) fn script(&self) -> Option<String> {
        let script = interpreter::script(&self.path, &self.arguments)?;
        if script.starts_with('/') {
            return Some(script.to_owned());
        }
        let folder = self.folder.as_deref()?;
        Some(format!("{}/{}", folder.trim_end_matches('/'), script.trim_start_matches("./")))
    }

    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Path of the executable.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether it is the host's file of that path.
    pub(super) const fn is_hosts(&self) -> bool {
        self.is_hosts
    }

    pub(super) const fn is_deleted(&self) -> bool {
        self.is_deleted
    }

    /// The file, as it is now.
    pub(super) fn key(&self) -> io::Result<FileKey> {
        Ok(Stat::of(&*self.executable)?.key)
    }
}

/// Looks at the executable of a process, and at its script. Files of more than `max_size` bytes are not
/// read; none are without it.
pub(super) fn look(
    target: &Target,
    known: &KnownFiles,
    max_size: Option<u64>,
    steps: &Steps,
) -> ExecutableFacts {
    let Target { pid, ref path, is_hosts, is_deleted, has_hosts_files, .. } = *target;
    let (root, executable) = (Arc::clone(&target.root), Arc::clone(&target.executable));
    let looker = Looker { pid, root, has_hosts_files, known, max_size, steps };
    let opened = steps.step(move || {
        let stat = Stat::of(&*executable)?;
        Ok((stat, regular(&executable, pid)))
    });
    let (stat, file) = match opened {
        Ok(opened) => opened,
        Err(error) => return ExecutableFacts::unread(path, why(&error)),
    };
    let is_memfd = path.starts_with(MEMFD) && stat.links == 0;
    let is_deleted = is_deleted || stat.links == 0;
    let mut ids = BuildIds::default();
    // A deleted file is not the one that the package has at its path by now.
    let owner =
        (!is_deleted).then(|| looker.owner(&target.packages, path, stat.key, is_hosts)).flatten();
    let mut facts = looker.file(path, stat, file, owner, Some(&mut ids));
    facts.is_in_writable_folder = !is_memfd && looker.is_in_writable_folder(path);
    ExecutableFacts {
        is_deleted,
        is_memfd,
        is_setuid: stat.mode & 0o4000 != 0,
        // Without the right to execute it, the bit means something else.
        is_setgid: stat.mode & 0o2010 == 0o2010,
        gnu_build_id: ids.gnu,
        go_build_id: ids.go,
        script: target.script().and_then(|script| looker.script(&script)),
        file: facts,
    }
}

struct Looker<'a> {
    pid: u32,
    root: Arc<Root>,
    has_hosts_files: bool,
    known: &'a KnownFiles,
    max_size: Option<u64>,
    steps: &'a Steps,
}

impl Looker<'_> {
    fn script(&self, path: &str) -> Option<FileFacts> {
        let (root, bytes, pid) = (Arc::clone(&self.root), path.as_bytes().to_vec(), self.pid);
        // What is not there was named by a process that went elsewhere, or changed its arguments.
        let opened = self.steps.step(move || {
            let file = root.open(&bytes)?;
            Ok((Stat::of(&file)?, regular(&file, pid)))
        });
        let (stat, file) = opened.ok()?;
        let owner = self.owner(&self.root, path, stat.key, self.has_hosts_files);
        let mut facts = self.file(path, stat, file, owner, None);
        facts.is_in_writable_folder = self.is_in_writable_folder(path);
        Some(facts)
    }

    /// What is known of a file, which `owner` has installed.
    fn file(
        &self,
        path: &str,
        stat: Stat,
        file: io::Result<File>,
        owner: Option<Owner>,
        ids: Option<&mut BuildIds>,
    ) -> FileFacts {
        let size = stat.key.size;
        let (package, digest) = match owner {
            Some((package, digest)) => (Some(package), digest),
            None => (None, None),
        };
        let mut facts =
            FileFacts { path: path.to_owned(), size: Some(size), package, ..FileFacts::default() };
        let read = match (self.max_size, file) {
            (None, _) => Err(unread::OFF),
            (Some(max_size), _) if size > max_size => Err(unread::LARGE),
            (_, Err(error)) => Err(why(&error)),
            (_, Ok(file)) => self.contents(&Arc::new(file), stat.key, digest.as_ref()),
        };
        match read {
            Ok((digests, found)) => {
                facts.is_modified =
                    digest.and_then(|digest| digests.has(&digest)).map(|is_same| !is_same);
                facts.sha256 = Some(digests.sha256);
                if let Some(ids) = ids {
                    *ids = found;
                }
            }
            Err(why) => facts.unread = Some(why),
        }
        facts
    }

    fn contents(
        &self,
        file: &Arc<File>,
        key: FileKey,
        digest: Option<&PackageDigest>,
    ) -> Result<(Digests, BuildIds), &'static str> {
        let wanted = digest.map(|digest| digest.algorithm);
        let mut key = key;
        for _ in 0..TRIES {
            let (found, after) = self.contents_once(file, key, wanted)?;
            if after == key {
                if key.is_settled() {
                    lock(&self.known.0).contents.insert(key, found.clone());
                }
                return Ok(found);
            }
            // To delete a file changes its change time.
            key = after;
        }
        Err(unread::CHANGED)
    }

    /// What is found in one pass, and which file it is afterwards.
    fn contents_once(
        &self,
        file: &Arc<File>,
        key: FileKey,
        wanted: Option<Algorithm>,
    ) -> Result<((Digests, BuildIds), FileKey), &'static str> {
        let remembered = lock(&self.known.0).contents.get(&key).cloned();
        if let Some(known) = remembered.filter(|(digests, _)| digests.knows(wanted)) {
            return Ok((known, key));
        }
        let digests =
            Digests::of(file, key.size, wanted, self.steps).map_err(|error| why(&error))?;
        let ids = elf::build_ids(|at, size| self.steps.read_at(file, at, size).ok());
        let same = Arc::clone(file);
        let after = self.steps.step(move || Stat::of(&*same)).map_err(|error| why(&error))?;
        Ok(((digests, ids), after.key))
    }

    /// The package of a file, from the database below `root`. That of a container may be any other one's,
    /// too: what the host's says is remembered, and nothing else.
    fn owner(&self, root: &Arc<Root>, path: &str, key: FileKey, is_hosts: bool) -> Option<Owner> {
        let key = (key, path.to_owned());
        if is_hosts
            && let Some((read, owner)) = lock(&self.known.0).owners.get(&key)
            && read.elapsed() < PACKAGE_FRESH
        {
            return owner.clone();
        }
        let owner = packages::owner(root, path, self.steps).inspect_err(|error| {
            tracing::debug!(%error, path, "the package of a file is not known");
        });
        let owner = owner.ok()?;
        if is_hosts {
            lock(&self.known.0).owners.insert(key, (Instant::now(), owner.clone()));
        }
        owner
    }

    /// Whether every user may write into one of the folders of a path.
    fn is_in_writable_folder(&self, path: &str) -> bool {
        let folders: Vec<Vec<u8>> = path
            .match_indices('/')
            .skip(1)
            .take(MAX_FOLDERS)
            .map(|(end, _)| path.as_bytes()[..end].to_vec())
            .collect();
        let root = Arc::clone(&self.root);
        let is_writable = self.steps.step(move || {
            let stats = folders.iter().filter_map(|folder| Stat::of(root.open(folder).ok()?).ok());
            Ok(stats.into_iter().any(|stat| stat.mode & 0o002 != 0))
        });
        is_writable.unwrap_or(false)
    }
}

impl Stat {
    fn of(file: impl std::os::fd::AsFd) -> io::Result<Self> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let found = statx(file, "", flags, StatxFlags::BASIC_STATS)?;
        Ok(Self {
            key: FileKey {
                device: (found.stx_dev_major, found.stx_dev_minor),
                inode: found.stx_ino,
                size: found.stx_size,
                changed: (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec),
            },
            mode: found.stx_mode.into(),
            links: found.stx_nlink,
        })
    }
}

impl FileKey {
    /// Whether a change from now on would show in its change time.
    pub(super) fn is_settled(&self) -> bool {
        let now = jiff::Timestamp::now().as_nanosecond();
        let changed = i128::from(self.changed.0) * 1_000_000_000 + i128::from(self.changed.1);
        (now - changed).abs() > SETTLED_NS
    }
}

fn why(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::TimedOut => unread::LATE,
        io::ErrorKind::WouldBlock => unread::SERVED,
        io::ErrorKind::PermissionDenied => unread::DENIED,
        io::ErrorKind::NotFound => unread::GONE,
        _ if error.raw_os_error() == Some(libc::ESRCH) => unread::GONE,
        io::ErrorKind::InvalidData => unread::CHANGED,
        _ => unread::BROKEN,
    }
}
