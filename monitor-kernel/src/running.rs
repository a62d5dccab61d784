//! The agent that runs on this host, seen from another process.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    process::{Pid, test_kill_process},
};

use super::{
    clsact::Filter,
    hooks::{Hook, HookMechanism, HookStatus},
    interfaces::Interface,
    links::{self, LinkName},
    netlink::Socket,
    pins::{PinDir, lock_holder, names_in},
    record::{self, Record},
    sys,
};

/// A running agent, as its record and its pins show it.
#[derive(Debug)]
pub struct Running {
    root: PathBuf,
    /// Its process id, if `/proc/locks` or its record has it.
    pub pid: Option<i32>,
    /// Whether it has pins.
    pub is_pinned: bool,
    record: Option<Record>,
}

/// The running agent, if there is one: it holds the lock on the directory, or, without pins, it is
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

/// Whether the process that wrote a record still runs this program. Every user can read its name,
/// but not its executable. A process that `/proc` hides (`hidepid`) answers a signal all the same: it
/// is refused.
fn is_of_an_agent(record: &Record) -> bool {
    let name = |process: &str| fs::read(format!("/proc/{process}/comm")).ok();
    let is_hidden = || {
        let pid = Pid::from_raw(record.pid.cast_signed());
        pid.is_some_and(|pid| test_kill_process(pid) == Err(Errno::PERM))
    };
    record.pid != std::process::id()
        && match name(&record.pid.to_string()) {
            Some(found) => Some(found) == name("self"),
            None => is_hidden(),
        }
}

impl Running {
    /// Its hooks, by its record; a hook that the kernel has not attached any more is shown so, even
    /// before the agent notices it. Without a record, its pins show which hooks it has, and which of
    /// `interfaces` have none.
    pub fn hooks(&self, interfaces: &[Interface]) -> Vec<HookStatus> {
        match &self.record {
            Some(record) => {
                record.statuses().map(|(ifindex, status)| self.checked(ifindex, status)).collect()
            }
            None => self.pinned_hooks(interfaces),
        }
    }

    /// Whether this process may read which hooks it has.
    pub fn has_hooks(&self) -> bool {
        self.record.is_some() || fs::read_dir(self.root.join(PinDir::Links.name())).is_ok()
    }

    /// Whether it uses the iterator over open files, or why not; `None` without a record.
    pub fn holders(&self) -> Option<Result<(), &str>> {
        let reason = self.record.as_ref()?.holders_unsupported.as_deref();
        Some(reason.map_or(Ok(()), Err))
    }

    /// Ids of the programs of each hook, with the index of its interface or 0, as far as pins show
    /// them.
    pub fn programs(&self) -> BTreeMap<(Hook, u32), BTreeSet<u32>> {
        let mut programs = BTreeMap::<_, BTreeSet<u32>>::new();
        let links = self.root.join(PinDir::Links.name());
        for link in names_in(&links).iter().filter_map(|pin| LinkName::parse(pin)) {
            if let Ok(facts) = sys::link_facts(&links.join(link.pin())) {
                programs.entry((link.hook, link.ifindex)).or_default().insert(facts.program);
            }
        }
        let filters = names_in(&self.root.join(PinDir::Filters.name()));
        for filter in filters.iter().filter_map(|marker| Filter::parse(marker)) {
            let program = Socket::open(None).and_then(|mut socket| filter.program(&mut socket));
            if let Ok(program) = program {
                programs.entry((filter.hook, filter.ifindex)).or_default().insert(program);
            }
        }
        programs
    }

    fn checked(&self, ifindex: u32, status: &HookStatus) -> HookStatus {
        let lost = status.attached.filter(|mechanism| {
            self.is_pinned && !self.is_attached(status.hook, ifindex, *mechanism)
        });
        match lost {
            None => status.clone(),
            Some(mechanism) => status.detached(mechanism),
        }
    }

    /// Whether the kernel has the links or the filter of a hook. A user who may not look at pins sees
    /// nothing else than the record.
    fn is_attached(&self, hook: Hook, ifindex: u32, mechanism: HookMechanism) -> bool {
        let of = |dir: PinDir| self.root.join(dir.name());
        if fs::read_dir(of(PinDir::Links)).is_err() {
            return true;
        }
        if mechanism == HookMechanism::Clsact {
            let filters = names_in(&of(PinDir::Filters));
            let mut filters = filters.iter().filter_map(|marker| Filter::parse(marker));
            let filter = filters.find(|filter| (filter.hook, filter.ifindex) == (hook, ifindex));
            let Some(filter) = filter else { return false };
            let asked = Socket::open(None).and_then(|mut socket| filter.is_attached(&mut socket));
            return asked.unwrap_or(true);
        }
        let links = names_in(&of(PinDir::Links));
        let links = links.iter().filter_map(|pin| LinkName::parse(pin));
        let mut links =
            links.filter(|link| (link.hook, link.ifindex) == (hook, ifindex)).peekable();
        if links.peek().is_none() {
            // Before Linux 5.15 the agent holds perf events, which have no pins.
            return matches!(mechanism, HookMechanism::Kprobe | HookMechanism::Tracepoint);
        }
        links.all(|link| links::is_attached(&of(PinDir::Links).join(link.pin()), &link))
    }

    fn pinned_hooks(&self, interfaces: &[Interface]) -> Vec<HookStatus> {
        let links = names_in(&self.root.join(PinDir::Links.name()));
        let filters = names_in(&self.root.join(PinDir::Filters.name()));
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
            rejected: Vec::new(),
        };
        let traffic = interfaces.iter().flat_map(|interface| {
            [Hook::Ingress, Hook::Egress].map(|hook| status(hook, Some(interface)))
        });
        traffic
            .chain([Hook::Bind, Hook::Listen, Hook::Close].map(|hook| status(hook, None)))
            .collect()
    }
}
