//! What ghostport leaves in the BPF filesystem, so that counters and hooks outlive the agent.
//!
//! ```text
//! /sys/fs/bpf/ghostport/
//!   layout:VERSION:CPUS:NETNS    marker: how the maps are laid out, and whose interfaces they count
//!   life:NANOSECONDS             marker: when the maps were made, which tells their counters from others
//!   object:HASH                  marker: the programs behind the links
//!   maps/NAME                    the maps that programs share
//!   counters/IFINDEX:GENERATION  traffic of one interface
//!   sockets/GENERATION           socket counters
//!   links/HOOK:MECHANISM:IFINDEX:PROGRAM
//!   filters/HOOK:IFINDEX         marker: a cls_bpf filter of ours
//!   qdiscs/IFINDEX               marker: a clsact qdisc that we made
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
            fs::DirBuilderExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    fs::{Access, AtFlags, CWD, FlockOperation, accessat, flock, statfs},
    io::Errno,
};

use super::{
    hooks::{Hook, HookMechanism, HookStatus},
    interfaces::Interface,
    links::LinkName,
    ownership,
    record::{self, Record},
};
use crate::wait::wait_until;

/// Where the contract puts it.
pub const ROOT: &str = "/sys/fs/bpf/ghostport";

/// `BPF_FS_MAGIC`, `include/uapi/linux/magic.h`.
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;

/// A group of pins; a directory below the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Maps that programs share.
    Maps,
    /// Traffic counters, one or more arrays an interface.
    Counters,
    /// Socket counters.
    Sockets,
    /// Links of attached programs.
    Links,
    /// Markers of our cls_bpf filters.
    Filters,
    /// Markers of clsact qdiscs that we made.
    Qdiscs,
}

impl Room {
    const ALL: [Self; 6] =
        [Self::Maps, Self::Counters, Self::Sockets, Self::Links, Self::Filters, Self::Qdiscs];

    const fn name(self) -> &'static str {
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

/// Time for which a lock may be held by an agent that was killed and is still being taken down, or by
/// somebody who looks whether one runs.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// Why pins cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// No BPF filesystem, or one that cannot be written.
    #[error("{path} cannot be used: {why}")]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// In words.
        why: String,
    },
    /// Another agent holds the lock.
    #[error("another ghostport agent runs{}", .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Locked {
        /// Its process id, where /proc/locks tells.
        pid: Option<i32>,
    },
}

/// The directory of pins, locked for one agent.
#[derive(Debug)]
pub struct Pins {
    root: PathBuf,
    /// Holds the lock for as long as it is open.
    _lock: File,
}

impl Pins {
    /// Opens the directory, making it where it is missing, and takes its lock.
    pub fn open(root: &Path) -> Result<Self, PinsError> {
        let parent = root.parent().unwrap_or(root);
        if !is_bpf_filesystem(parent) {
            let why = format!("no BPF filesystem is mounted at {}", parent.display());
            return Err(PinsError::Unusable { path: root.to_path_buf(), why });
        }
        make_directory(root).map_err(|error| refused(root, &error))?;
        let lock = take_lock(root)?;
        for folder in Room::ALL.map(|room| root.join(room.name())) {
            make_directory(&folder).map_err(|error| refused(&folder, &error))?;
            for pin in names_in(&folder).iter().map(|name| folder.join(name)) {
                ownership::take(&pin).map_err(|error| refused(&pin, &error))?;
            }
        }
        Ok(Self { root: root.to_path_buf(), _lock: lock })
    }

    /// Opens the directory if there is one.
    pub fn open_existing(root: &Path) -> Result<Option<Self>, PinsError> {
        if root.is_dir() { Self::open(root).map(Some) } else { Ok(None) }
    }

    /// Path of a pin.
    pub fn path(&self, room: Room, name: &str) -> PathBuf {
        self.root.join(room.name()).join(name)
    }

    /// Names of the pins in a room, sorted.
    pub fn names(&self, room: Room) -> Vec<String> {
        names_in(&self.root.join(room.name()))
    }

    /// Removes a pin or a marker; one that is gone already is as good.
    pub fn remove(&self, room: Room, name: &str) -> io::Result<()> {
        remove(&self.path(room, name))
    }

    /// Sets a marker.
    pub fn mark(&self, room: Room, name: &str) -> io::Result<()> {
        make_directory(&self.path(room, name))
    }

    /// What the marker of this kind says.
    pub fn marker(&self, kind: &str) -> Option<String> {
        let prefix = format!("{kind}:");
        names_in(&self.root).iter().find_map(|name| Some(name.strip_prefix(&prefix)?.to_owned()))
    }

    /// Whether the marker of this kind says `value`; if it says something else or nothing, it does
    /// so from now on.
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

    /// Removes everything in a room.
    pub fn clear(&self, room: Room) -> io::Result<()> {
        self.names(room).iter().try_for_each(|name| self.remove(room, name))
    }

    /// Removes the whole directory.
    pub fn remove_all(self) -> io::Result<()> {
        for room in Room::ALL {
            self.clear(room)?;
        }
        for name in names_in(&self.root) {
            remove(&self.root.join(name))?;
        }
        fs::remove_dir(&self.root)
    }
}

/// Takes the lock of an agent without pins: a name among the abstract sockets, which ends with the
/// process. It is seen in one network namespace, which is as far as an agent without pins reaches.
pub fn lock_without_pins() -> Result<UnixDatagram, PinsError> {
    let address = SocketAddr::from_abstract_name("ghostport-agent");
    let lock = address.and_then(|address| UnixDatagram::bind_addr(&address));
    lock.map_err(|_| PinsError::Locked { pid: None })
}

/// A running agent, as its record and its pins show it.
#[derive(Debug)]
pub struct Running {
    root: PathBuf,
    /// Its process id, where `/proc/locks` or its record tells.
    pub pid: Option<i32>,
    /// Whether it has pins.
    pub is_pinned: bool,
    record: Option<Record>,
}

/// The agent that runs, if one does: it holds the lock on the directory, or, without pins, it is
/// the process that its record names.
pub fn running(root: &Path) -> Option<Running> {
    let record = Record::read(Path::new(record::FOLDER)).filter(is_of_an_agent);
    let recorded = record.as_ref().map(|record| record.pid as i32);
    let locked = File::open(root).ok().and_then(|directory| {
        let refused = flock(&directory, FlockOperation::NonBlockingLockShared).err()?;
        (refused == Errno::WOULDBLOCK).then(|| lock_holder(&directory))
    });
    let (pid, is_pinned) = match locked {
        Some(holder) => (holder.or(recorded), true),
        None => (Some(recorded?), false),
    };
    let record = record.filter(|_| pid == recorded);
    Some(Running { root: root.to_path_buf(), pid, is_pinned, record })
}

/// Whether the process that wrote a record still is one of this program. Its name can be read by
/// every user, its executable cannot.
fn is_of_an_agent(record: &Record) -> bool {
    let name = |process: &str| fs::read(format!("/proc/{process}/comm")).ok();
    record.pid != std::process::id()
        && name(&record.pid.to_string()).is_some_and(|found| Some(found) == name("self"))
}

impl Running {
    /// Its hooks, as it tells them itself. Where it could write no record, its pins say which ones
    /// it has, and of which of `interfaces` it has none.
    pub fn hooks(&self, interfaces: &[Interface]) -> Vec<HookStatus> {
        match &self.record {
            Some(record) => record.statuses().cloned().collect(),
            None => self.pinned_hooks(interfaces),
        }
    }

    /// Whether it asks the iterator over open files who holds a socket, or why not; `None` where it
    /// could write no record.
    pub fn holders(&self) -> Option<Result<(), &str>> {
        let obstacle = self.record.as_ref()?.holders_obstacle.as_deref();
        Some(obstacle.map_or(Ok(()), Err))
    }

    fn pinned_hooks(&self, interfaces: &[Interface]) -> Vec<HookStatus> {
        let links = names_in(&self.root.join(Room::Links.name()));
        let filters = names_in(&self.root.join(Room::Filters.name()));
        let mechanism = |hook: Hook, ifindex: u32| {
            let link = links.iter().filter_map(|pin| LinkName::parse(pin));
            let mut link = link.filter(|link| link.hook == hook && link.ifindex == ifindex);
            let filter = format!("{hook}:{ifindex}:");
            let filtered = filters.iter().any(|name| name.starts_with(&filter));
            link.next().map(|link| link.mechanism).or(filtered.then_some(HookMechanism::Clsact))
        };
        let status = |hook: Hook, interface: Option<&Interface>| HookStatus {
            hook,
            interface: interface.map(|interface| interface.name.clone()),
            attached: mechanism(hook, interface.map_or(0, |interface| interface.index)),
            adopted: false,
            passed_over: Vec::new(),
        };
        let traffic = interfaces.iter().flat_map(|interface| {
            [Hook::Ingress, Hook::Egress].map(|hook| status(hook, Some(interface)))
        });
        traffic
            .chain([Hook::Bind, Hook::Listen, Hook::Close].map(|hook| status(hook, None)))
            .collect()
    }
}

/// Whether an agent of this user could pin: whether there is a directory of its own, or one can be
/// made.
pub fn check_writable(root: &Path) -> Result<(), PinsError> {
    let parent = root.parent().unwrap_or(root);
    let folder = if root.exists() { root } else { parent };
    accessat(CWD, folder, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
        .map_err(|error| refused(root, &error.into()))
}

/// Usable by its owner alone: whoever can write a map can falsify the numbers.
fn make_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => ownership::take(path),
        result => result,
    }
}

/// Why a directory cannot be made or used, and what a user other than root does about it.
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
    let result = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Whether a BPF filesystem is mounted there.
pub fn is_bpf_filesystem(path: &Path) -> bool {
    statfs(path).is_ok_and(|status| status.f_type as u32 == BPF_FS_MAGIC)
}

fn take_lock(root: &Path) -> Result<File, PinsError> {
    let directory = File::open(root).map_err(|error| refused(root, &error))?;
    let takes = || flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok();
    if wait_until(Instant::now() + LOCK_PATIENCE, takes) {
        Ok(directory)
    } else {
        Err(PinsError::Locked { pid: lock_holder(&directory) })
    }
}

/// Process that holds the lock on an open file, from `/proc/locks`.
fn lock_holder(file: &File) -> Option<i32> {
    use std::os::unix::fs::MetadataExt as _;
    let inode = file.metadata().ok()?.ino();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let held = fields.get(1) == Some(&"FLOCK")
            && fields.get(5)?.rsplit(':').next()? == inode.to_string();
        if held { fields.get(4)?.parse().ok() } else { None }
    })
}
