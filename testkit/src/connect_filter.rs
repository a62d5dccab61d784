//! A control group whose processes may not connect: a cgroup program of another owner.

use std::{
    fs::{self, File},
    io::Write as _,
    os::fd::{AsRawFd as _, OwnedFd},
    path::PathBuf,
    process,
};

use super::{
    bpf::{LINK_CREATE, load, open},
    kernel::unified_hierarchy,
};

const PROG_TYPE_CGROUP_SOCK_ADDR: u32 = 18;
const CGROUP_INET4_CONNECT: u32 = 10;

/// The group, and the program on it, which refuses every connect to an IPv4 address.
pub struct RefusedConnects {
    folder: PathBuf,
    /// Its list of processes, open: a child that this process forks writes to it and nothing else.
    processes: File,
    _link: OwnedFd,
}

impl RefusedConnects {
    /// Makes one. `None` where there is no unified hierarchy.
    pub fn new() -> Option<Self> {
        let folder = unified_hierarchy()?.join(format!("ghostport-test-{}", process::id()));
        fs::create_dir(&folder).expect("a control group");
        let refuse = [(0xb7, 0x00, 0, 0), (0x95, 0x00, 0, 0)];
        let program = load(PROG_TYPE_CGROUP_SOCK_ADDR, CGROUP_INET4_CONNECT, "refuses", &refuse);
        let program = program.expect("a program");
        let group = File::open(&folder).expect("a control group");
        // `{ u32 prog_fd; u32 target_fd; u32 attach_type; u32 flags; }`
        let mut attributes =
            [program.as_raw_fd() as u32, group.as_raw_fd() as u32, CGROUP_INET4_CONNECT, 0];
        let link = open(LINK_CREATE, &mut attributes).expect("attached");
        let processes = File::options().write(true).open(folder.join("cgroup.procs"));
        Some(Self { folder, processes: processes.expect("a list"), _link: link })
    }

    /// Moves the calling process into the group, by one system call.
    pub fn enter(&self) -> bool {
        (&self.processes).write_all(b"0").is_ok()
    }
}

impl Drop for RefusedConnects {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}
