//! Which processes hold sockets on some ports now, in every network namespace.
//!
//! ```no_run
//! use ghostport::{process::Joiner, sockets};
//!
//! let look = sockets::look(&[2948], &mut Joiner::new(true)).expect("/proc");
//! for socket in &look.sockets {
//!     println!("{} is held by {} processes", socket.entry.local, socket.holders.len());
//! }
//! ```
//!
//! A look takes the kernel's list of sockets of each namespace, and then finds the descriptors of
//! those on watched ports in every process; without such a socket, no process is searched. It
//! needs CAP_SYS_ADMIN to enter other namespaces; without it their lists are read from `/proc`.
//!
//! Where the kernel side lists open sockets, no descriptors are searched, and sockets in
//! namespaces that could not be listed are found as well ([`look_with`]).

mod descriptors;
mod diag;
mod list;
mod namespaces;
mod numbered;
mod open;
mod proc_net;
mod socket;

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::unix::fs::MetadataExt as _,
    sync::Arc,
    thread,
};

use monitor_common::{flow::Side, held_socket::HeldSocket, ports::PortSet};
use rustix::fs::{Mode, OFlags};

#[cfg(test)]
pub(crate) use self::socket::udp_socket;
pub use self::socket::{Entry, Socket, TcpState, on_port};
use self::{
    descriptors::{Descriptor, Found},
    list::Listed,
    namespaces::Namespaces,
};
use crate::process::{Identity, Joiner, birth::Birth, proc_dir::ProcessDir};

/// What a look found.
#[derive(Debug, Default)]
pub struct Look {
    /// Sockets that have one of the ports at one of their ends, by port. One that has two of them
    /// is there twice, and only once if they are the same.
    pub sockets: Vec<Socket>,
    /// Network namespaces whose sockets were listed.
    pub namespaces: usize,
    /// What was not seen.
    pub unseen: Unseen,
}

/// What a look was not allowed to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// Network namespaces whose sockets could not be listed.
    pub namespaces: usize,
    /// Processes that may be in further namespaces.
    pub processes: usize,
    /// Processes that may hold sockets that were found.
    pub holders: usize,
}

/// Looks for sockets on `ports` and their holders. An error if `/proc` cannot be read;
/// parts that cannot be read are in [`Look::unseen`].
pub fn look(ports: &[u16], joiner: &mut Joiner) -> io::Result<Look> {
    look_with(ports, joiner, || None)
}

/// The same with what the kernel side says of open sockets; `None` if it cannot.
///
/// It is asked when the lists are read: a socket that is opened meanwhile is added, while one that
/// was asked for before would seem to have no holder.
pub fn look_with(
    ports: &[u16],
    joiner: &mut Joiner,
    open_sockets: impl FnOnce() -> Option<Vec<HeldSocket>>,
) -> io::Result<Look> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open("/proc", flags, Mode::empty())?;
    let own = fs::metadata("/proc/thread-self/ns/net")?.ino() as u32;
    let namespaces = Namespaces::find(&proc)?;
    let watched = Watched::new(ports);
    // Who enters a namespace does not come back.
    let mut listed = thread::scope(|scope| {
        let list = || Listed::of_all(&namespaces, own, &watched);
        thread::Builder::new()
            .name("namespaces".into())
            .spawn_scoped(scope, list)?
            .join()
            .map_err(|_| io::Error::other("the thread that lists sockets has panicked"))
    })?;
    let mut holders = Holders::default();
    let searched = if let Some(open) = open_sockets() {
        open::complete(&mut listed.entries, &open, &watched);
        holders.add_open(&open, joiner)
    } else {
        let inodes = listed.entries.iter().map(|(_, entry)| entry.inode);
        inodes.filter(|inode| *inode != 0).collect()
    };
    let found = descriptors::find(&proc, &searched)?;
    let unseen = Unseen {
        namespaces: listed.refused,
        processes: listed.unplaced,
        holders: found.unreadable,
    };
    holders.add_found(found, joiner);
    let sockets = listed.entries.iter().flat_map(|&(netns_inode, entry)| {
        watched.ends(&entry).into_iter().flatten().map(move |end| (netns_inode, entry, end))
    });
    let mut sockets: Vec<Socket> = sockets
        .map(|(netns_inode, entry, (port, side))| {
            let holders = holders.of(entry.inode);
            // A connection that only the kernel still knows has no inode.
            let holders_unknown = holders.is_empty() && entry.inode != 0 && unseen.holders > 0;
            Socket { port, side, netns_inode, entry, holders, holders_unknown }
        })
        .collect();
    sockets.sort_by_key(Socket::order);
    Ok(Look { sockets, namespaces: listed.namespaces, unseen })
}

/// The ports that are looked for.
struct Watched<'a> {
    ports: &'a [u16],
    set: PortSet,
}

impl<'a> Watched<'a> {
    fn new(ports: &'a [u16]) -> Self {
        Self { ports, set: ports.iter().copied().collect() }
    }

    /// The ends of a socket that have such a port.
    fn ends(&self, entry: &Entry) -> [Option<(u16, Side)>; 2] {
        let local = entry.local.port();
        let peer = entry.peer.map(|peer| peer.port()).filter(|peer| *peer != local);
        let watched = |port: &u16| self.set.contains(*port);
        [
            Some(local).filter(watched).map(|port| (port, Side::Local)),
            peer.filter(watched).map(|port| (port, Side::Remote)),
        ]
    }
}

/// Who holds which socket.
#[derive(Default)]
struct Holders {
    by_inode: HashMap<u32, Vec<Arc<Identity>>>,
}

impl Holders {
    /// Adds holders that the kernel side lists. Returns the inodes of sockets whose holder could not be
    /// found in `/proc`: the process has ended, or has another id where `/proc` is of another pid
    /// namespace.
    fn add_open(&mut self, open: &[HeldSocket], joiner: &mut Joiner) -> HashSet<u32> {
        let mut known: HashMap<open::Born, Option<Arc<Identity>>> = HashMap::new();
        let mut of = |born: &open::Born| {
            let identity = known.entry(*born).or_insert_with(|| {
                let (pid, start_time_ns) = *born;
                let (process, _) = Birth::at(start_time_ns).find(pid).ok()?;
                joiner.look_at(&process).ok().map(Arc::new)
            });
            identity.clone()
        };
        let mut lost = HashSet::new();
        for (inode, processes) in open::by_inode(open) {
            let holders: Vec<_> = processes.iter().filter_map(&mut of).collect();
            if holders.is_empty() {
                lost.insert(inode);
            } else {
                self.by_inode.insert(inode, holders);
            }
        }
        lost
    }

    /// Adds those whose descriptors were found. One that has closed its socket since, or ended, holds
    /// it no more.
    fn add_found(&mut self, found: Found, joiner: &mut Joiner) {
        let mut known: HashMap<u32, Option<(ProcessDir, Arc<Identity>)>> = HashMap::new();
        let mut of = |inode: u32, descriptor: &Descriptor| {
            let process = known.entry(descriptor.pid).or_insert_with(|| {
                let process = ProcessDir::open(descriptor.pid).ok()?;
                let identity = joiner.look_at(&process).ok()?;
                Some((process, Arc::new(identity)))
            });
            let (process, identity) = process.as_ref()?;
            let is_held =
                process.leads_to(&descriptor.path, format!("socket:[{inode}]").as_bytes());
            is_held.then(|| Arc::clone(identity))
        };
        self.by_inode.extend(found.by_inode.into_iter().map(|(inode, descriptors)| {
            (inode, descriptors.iter().filter_map(|descriptor| of(inode, descriptor)).collect())
        }));
    }

    fn of(&self, inode: u32) -> Vec<Arc<Identity>> {
        self.by_inode.get(&inode).cloned().unwrap_or_default()
    }
}
