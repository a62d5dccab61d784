//! Pins in the BPF filesystem, by which counters and hooks outlive the agent.
//!
//! ```text
//! /sys/fs/bpf/ghostport/
//!   layout:VERSION:CPUS:NETNS    marker: layout of the maps, and namespace of their interfaces
//!   life:NANOSECONDS             marker: creation time of the maps, which identifies their counters
//!   object:HASH                  marker: the programs behind the links
//!   maps/NAME                    the maps that programs share
//!   counters/IFINDEX:GENERATION  traffic of one interface
//!   sockets/GENERATION           socket counters
//!   links/HOOK:MECHANISM:IFINDEX:PROGRAM
//!   filters/HOOK:IFINDEX         marker: a cls_bpf filter of an agent
//!   qdiscs/IFINDEX               marker: a clsact qdisc that an agent created
//! ```
//!
//! Names in a BPF filesystem must not contain dots; markers are empty directories, because it
//! holds no plain files.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            fs::{DirBuilderExt as _, MetadataExt as _},
            net::{SocketAddr, UnixDatagram},
        },
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{Access, AtFlags, CWD, FlockOperation, accessat, flock};

use super::ownership;
use crate::{
    bpffs::{is_bpf_filesystem, names_in},
    pin_folder, pin_garbage,
    wait::wait_until,
};

/// Root of the pins.
pub const ROOT: &str = "/sys/fs/bpf/ghostport";

/// A group of pins; a directory below the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinDir {
    /// Maps that programs share.
    Maps,
    /// Traffic counters, one or more arrays for each interface.
    Counters,
    /// Socket counters.
    Sockets,
    /// Links of attached programs.
    Links,
    /// Markers of cls_bpf filters.
    Filters,
    /// Markers of clsact qdiscs that an agent created.
    Qdiscs,
}

impl PinDir {
    const ALL: [Self; 6] =
        [Self::Maps, Self::Counters, Self::Sockets, Self::Links, Self::Filters, Self::Qdiscs];

    /// Whether its entries are folders, and not pinned objects.
    const fn holds_markers(self) -> bool {
        matches!(self, Self::Filters | Self::Qdiscs)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Maps => "maps",
            Self::Counters => "counters",
            Self::Sockets => "sockets",
            Self::Links => "links",
            Self::Filters => "filters",
            Self::Qdiscs => "qdiscs",
        }
    }
}

/// Time to wait for a lock whose holder is a killed agent that has not yet exited, or a process that
/// checks for a running agent.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// Why pins cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// No BPF filesystem, or one that cannot be written.
    #[error("{path} cannot be used: {why}")]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// The reason, for the operator.
        why: String,
    },
    /// Another agent holds the lock.
    #[error("another ghostport agent runs{}", .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Locked {
        /// Its process id, if /proc/locks shows it.
        pid: Option<i32>,
    },
}

/// The directory of pins, locked for one agent.
#[derive(Debug)]
pub struct Pins {
    root: PathBuf,
    /// Holds the lock while it is open.
    _lock: File,
}

impl Pins {
    /// Opens the directory, which is created if it is missing, and takes its lock. Where `root` is not
    /// the agent's alone, it is another one beside it.
    ///
    /// What cannot be a pin of the agent is removed.
    pub fn open(root: &Path) -> Result<Self, PinsError> {
        let folder = pin_folder::chosen(root);
        if let Some(why) = pin_folder::distrusted(root) {
            tracing::warn!(
                why, used = %folder.display(),
                "{} is not the agent's, and another folder is used", root.display()
            );
        }
        Self::open_trusted(&folder)
    }

    fn open_trusted(root: &Path) -> Result<Self, PinsError> {
        let parent = root.parent().unwrap_or(root);
        if !is_bpf_filesystem(parent) {
            let why = format!("no BPF filesystem is mounted at {}", parent.display());
            return Err(PinsError::Unusable { path: root.to_path_buf(), why });
        }
        let owner = fs::symlink_metadata(root).ok().map(|found| found.uid());
        make_directory(root).map_err(|error| refused(root, &error))?;
        let lock = take_lock(root)?;
        for dir in PinDir::ALL {
            let folder = root.join(dir.name());
            pin_garbage::sweep(&folder, owner, dir.holds_markers())
                .map_err(|error| refused(&folder, &error))?;
            make_directory(&folder).map_err(|error| refused(&folder, &error))?;
            for pin in names_in(&folder).iter().map(|name| folder.join(name)) {
                ownership::take(&pin).map_err(|error| refused(&pin, &error))?;
            }
        }
        Ok(Self { root: root.to_path_buf(), _lock: lock })
    }

    /// Opens every directory that agents have made. One that is not the agent's is left alone; an
    /// error if it is the only one.
    pub fn open_existing(root: &Path) -> Result<Vec<Self>, PinsError> {
        let folders = pin_folder::existing(root);
        match pin_folder::distrusted(root) {
            Some(why) if folders.is_empty() => {
                Err(PinsError::Unusable { path: root.to_owned(), why })
            }
            _ => folders.iter().map(|folder| Self::open_trusted(folder)).collect(),
        }
    }

    /// Opens the other directories that agents have made: an earlier one found this one's name taken.
    pub fn open_others(&self, root: &Path) -> Result<Vec<Self>, PinsError> {
        let others = pin_folder::existing(root).into_iter().filter(|folder| *folder != self.root);
        others.map(|folder| Self::open_trusted(&folder)).collect()
    }

    /// Path of a pin.
    pub fn path(&self, dir: PinDir, name: &str) -> PathBuf {
        self.root.join(dir.name()).join(name)
    }

    /// Names of the pins in a directory, sorted.
    pub fn names(&self, dir: PinDir) -> Vec<String> {
        names_in(&self.root.join(dir.name()))
    }

    /// Removes a pin or a marker, if it is there.
    pub fn remove(&self, dir: PinDir, name: &str) -> io::Result<()> {
        remove(&self.path(dir, name))
    }

    /// Sets a marker.
    pub fn mark(&self, dir: PinDir, name: &str) -> io::Result<()> {
        make_directory(&self.path(dir, name))
    }

    /// The value of the marker of this kind.
    pub fn marker(&self, kind: &str) -> Option<String> {
        let prefix = format!("{kind}:");
        names_in(&self.root).iter().find_map(|name| Some(name.strip_prefix(&prefix)?.to_owned()))
    }

    /// Sets the marker of this kind to `value`. Returns whether it had that value before.
    pub fn exchange_marker(&self, kind: &str, value: &str) -> io::Result<bool> {
        let wanted = format!("{kind}:{value}");
        let prefix = format!("{kind}:");
        let mut found = false;
        for name in names_in(&self.root) {
            if name == wanted {
                found = true;
            } else if name.starts_with(&prefix) {
                remove(&self.root.join(name))?;
            }
        }
        if !found {
            make_directory(&self.root.join(wanted))?;
        }
        Ok(found)
    }

    /// Removes the marker of this kind.
    pub fn remove_marker(&self, kind: &str) -> io::Result<()> {
        self.marker(kind).map_or(Ok(()), |value| remove(&self.root.join(format!("{kind}:{value}"))))
    }

    /// Removes everything in a directory.
    pub fn clear(&self, dir: PinDir) -> io::Result<()> {
        self.names(dir).iter().try_for_each(|name| self.remove(dir, name))
    }

    /// Removes the whole directory.
    pub fn remove_all(self) -> io::Result<()> {
        fs::remove_dir_all(&self.root)
    }
}

/// Takes the lock of an agent without pins: an abstract socket address, which is freed with the
/// process. It is visible in one network namespace, as are the hooks of an agent without pins.
pub fn lock_without_pins() -> Result<UnixDatagram, PinsError> {
    let address = SocketAddr::from_abstract_name("ghostport-agent");
    let lock = address.and_then(|address| UnixDatagram::bind_addr(&address));
    lock.map_err(|_| PinsError::Locked { pid: None })
}

/// Whether an agent of this user could pin: whether it owns the directory or can create it.
pub fn check_writable(root: &Path) -> Result<(), PinsError> {
    let parent = root.parent().unwrap_or(root);
    let folder = if root.exists() { root } else { parent };
    accessat(CWD, folder, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
        .map_err(|error| refused(root, &error.into()))
}

/// Accessible to its owner alone: a user who can write a map can falsify the numbers.
fn make_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => ownership::take(path),
        result => result,
    }
}

/// Why a directory cannot be created or used, and the remedy for a user other than root.
fn refused(path: &Path, error: &io::Error) -> PinsError {
    let user = rustix::process::geteuid();
    let why = match error.kind() {
        io::ErrorKind::PermissionDenied if !user.is_root() => format!(
            "{error}; as root: chmod +x /sys/fs/bpf && install -d -m 0700 -o {} {ROOT}",
            user.as_raw()
        ),
        _ => error.to_string(),
    };
    PinsError::Unusable { path: path.to_path_buf(), why }
}

fn remove(path: &Path) -> io::Result<()> {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    let result = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn take_lock(root: &Path) -> Result<File, PinsError> {
    let directory = File::open(root).map_err(|error| refused(root, &error))?;
    let takes = || flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok();
    if wait_until(Instant::now() + LOCK_TIMEOUT, takes) {
        Ok(directory)
    } else {
        Err(PinsError::Locked { pid: lock_holder(&directory) })
    }
}

/// Process that holds the lock on an open file, from `/proc/locks`.
pub(crate) fn lock_holder(file: &File) -> Option<i32> {
    let inode = file.metadata().ok()?.ino();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let held = fields.get(1) == Some(&"FLOCK")
            && fields.get(5)?.rsplit(':').next()? == inode.to_string();
        if held { fields.get(4)?.parse().ok() } else { None }
    })
}
