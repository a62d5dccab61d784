//! The binary under test with just these privileges, and what a process has of them.

use std::{
    fs, io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use rustix::{
    process::{Gid, Resource, Rlimit, Uid, setrlimit},
    thread::{
        CapabilitySet, CapabilitySets, capability_is_in_bounding_set,
        configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
        set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};

use super::{agent::binary, world::World};

/// What an agent needs, as an administrator grants it.
pub const FIVE: [(&str, CapabilitySet); 5] = [
    ("CAP_BPF", CapabilitySet::BPF),
    ("CAP_PERFMON", CapabilitySet::PERFMON),
    ("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN),
    ("CAP_SYS_PTRACE", CapabilitySet::SYS_PTRACE),
    ("CAP_DAC_READ_SEARCH", CapabilitySet::DAC_READ_SEARCH),
];

/// A user who is not root.
pub const SOMEBODY: u32 = 4711;

/// Whether this kernel charges maps to a limit that only one more capability lifts, as those before
/// 5.11 do.
pub fn charges_memlock() -> bool {
    rustix::system::uname().release().to_bytes().starts_with(b"5.10.")
}

/// Makes the calling thread another user's, with a group of its own and no other.
pub fn become_user(user: u32) -> rustix::io::Result<()> {
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(user));
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)
}

/// Runs `work` on a thread of another user, whose sockets are that user's.
pub fn as_user<T: Send>(user: u32, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            become_user(user).expect("another user");
            work()
        });
        thread.join().expect("no panic")
    })
}

/// Who runs a command, and what that process may do.
#[derive(Clone, Copy, Debug)]
pub struct Privileges {
    user: u32,
    capabilities: CapabilitySet,
    /// RLIMIT_MEMLOCK, bytes.
    memlock: Option<u64>,
}

impl Privileges {
    /// A user with exactly the five capabilities.
    pub fn five(user: u32) -> Self {
        let all = |set, (_, capability): (&str, CapabilitySet)| set | capability;
        let five = FIVE.into_iter().fold(CapabilitySet::empty(), all);
        Self { user, capabilities: five, memlock: None }
    }

    /// A user without any capability.
    pub fn none(user: u32) -> Self {
        Self { user, capabilities: CapabilitySet::empty(), memlock: None }
    }

    /// The five, with what else this kernel wants of a user who is to watch.
    pub fn usual(user: u32) -> Self {
        let five = Self::five(user);
        if charges_memlock() { five.with(CapabilitySet::SYS_RESOURCE) } else { five }
    }

    /// Without one of them.
    pub fn without(self, capability: CapabilitySet) -> Self {
        Self { capabilities: self.capabilities - capability, ..self }
    }

    /// With one more.
    pub fn with(self, capability: CapabilitySet) -> Self {
        Self { capabilities: self.capabilities | capability, ..self }
    }

    /// With so little memory to lock.
    pub fn memlock(self, bytes: u64) -> Self {
        Self { memlock: Some(bytes), ..self }
    }

    /// The binary under test, to be run with these privileges. It is a copy where every user
    /// reaches it.
    pub fn ghostport(self, world: &World, arguments: &[&str]) -> Command {
        let copy = world.path("ghostport");
        if !copy.exists() {
            fs::copy(binary(), &copy).expect("copied");
        }
        let mut command = Command::new(copy);
        command.args(arguments).stdin(Stdio::null()).env("NO_COLOR", "1");
        // SAFETY: system calls alone, no memory is allocated and no lock is taken.
        unsafe { command.pre_exec(move || Ok(self.take()?)) };
        command
    }

    /// Makes them those of the calling thread, and of what it executes.
    pub fn take(self) -> rustix::io::Result<()> {
        if let Some(bytes) = self.memlock {
            let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
            setrlimit(Resource::Memlock, limit)?;
        }
        for number in 0..u64::BITS {
            let capability = CapabilitySet::from_bits_retain(1 << number);
            match capability_is_in_bounding_set(capability) {
                Ok(true) if !self.capabilities.contains(capability) => {
                    remove_capability_from_bounding_set(capability)?;
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        if self.user != 0 {
            set_keep_capabilities(true)?;
            become_user(self.user)?;
        }
        let set = self.capabilities;
        set_capabilities(
            None,
            CapabilitySets { effective: set, permitted: set, inheritable: set },
        )?;
        set.iter().try_for_each(|capability| configure_capability_in_ambient_set(capability, true))
    }
}

/// Capabilities and identities of one thread, from `/proc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadStatus(String);

impl ThreadStatus {
    /// Those of every thread of a process.
    pub fn of_process(pid: u32) -> io::Result<Vec<Self>> {
        let threads = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task"))?;
        threads.map(|thread| Ok(Self(fs::read_to_string(thread?.path().join("status"))?))).collect()
    }

    /// A set of capabilities: `CapEff`, `CapBnd` and so on.
    pub fn set(&self, name: &str) -> CapabilitySet {
        let bits = u64::from_str_radix(self.field(name), 16).expect("a set");
        CapabilitySet::from_bits_retain(bits)
    }

    /// A line.
    pub fn field(&self, name: &str) -> &str {
        let line = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.0)).trim()
    }
}

impl Privileges {
    /// The capabilities.
    pub fn capabilities(self) -> CapabilitySet {
        self.capabilities
    }
}
