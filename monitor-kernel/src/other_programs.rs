//! BPF programs of others that decide where connections and packets go.

use std::{
    fmt, io,
    os::fd::{AsFd as _, BorrowedFd},
};

use anyhow::Result;
use aya_obj::generated::bpf_attach_type;

use crate::{cgroup, sys};

/// A program of another owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherProgram {
    /// Id.
    pub id: u32,
    /// Name; `None` where this process may not open the program, which takes CAP_SYS_ADMIN.
    pub name: Option<String>,
}

impl fmt::Display for OtherProgram {
    /// `tubular (program 12)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} (program {})", self.id),
            None => write!(f, "program {}", self.id),
        }
    }
}

/// The programs that choose the socket of a packet in a network namespace, in the order in which they
/// are run (`BPF_SK_LOOKUP`, since Linux 5.9). Takes CAP_NET_ADMIN.
///
/// # Errors
///
/// The kernel has no such programs, or refuses to list them.
pub fn choosing_sockets(netns: BorrowedFd<'_>) -> io::Result<Vec<OtherProgram>> {
    attached(netns, bpf_attach_type::BPF_SK_LOOKUP)
}

/// The programs at the root of the control groups that may connect a socket elsewhere than its program
/// asks for, or send its datagrams there. Takes CAP_NET_ADMIN.
///
/// # Errors
///
/// There is no unified hierarchy, or the kernel refuses to list them.
pub fn redirecting_connections() -> Result<Vec<OtherProgram>> {
    use bpf_attach_type::{
        BPF_CGROUP_INET4_CONNECT, BPF_CGROUP_INET6_CONNECT, BPF_CGROUP_UDP4_SENDMSG,
        BPF_CGROUP_UDP6_SENDMSG,
    };
    let places = [
        BPF_CGROUP_INET4_CONNECT,
        BPF_CGROUP_INET6_CONNECT,
        BPF_CGROUP_UDP4_SENDMSG,
        BPF_CGROUP_UDP6_SENDMSG,
    ];
    let root = cgroup::open_root()?;
    let mut found = Vec::new();
    for place in places {
        found.extend(attached(root.as_fd(), place)?);
    }
    Ok(found)
}

/// The program with an id.
pub fn by_id(id: u32) -> OtherProgram {
    let name = sys::open_program(id).and_then(|program| sys::program_name(&program));
    OtherProgram { id, name: name.ok().filter(|name| !name.is_empty()) }
}

fn attached(target: BorrowedFd<'_>, place: bpf_attach_type) -> io::Result<Vec<OtherProgram>> {
    Ok(sys::attached_programs(target, place)?.into_iter().map(by_id).collect())
}
