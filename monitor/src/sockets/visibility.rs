//! Whether `/proc` shows every process of this host.

use std::{fs, io, os::unix::fs::MetadataExt as _};

use rustix::{
    process::{getegid, getgroups},
    thread::{CapabilitySet, capabilities},
};

/// Inode of the first pid namespace: `PROC_PID_INIT_INO`, `include/linux/proc_ns.h`.
const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;

/// What hides processes: neither they, nor what they hold, nor their network namespaces are in
/// `/proc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HiddenProcesses {
    /// `/proc` is mounted with `hidepid`, and this user may not look at processes of others.
    MountOption,
    /// `/proc` is that of a pid namespace beside or below the first one.
    PidNamespace,
}

impl HiddenProcesses {
    /// What hides processes from the calling thread; `None` if it sees all of them.
    pub fn here() -> Option<Self> {
        if !shows_first_pid_namespace() {
            return Some(Self::PidNamespace);
        }
        let options = options_of_proc().unwrap_or_default();
        let hides = hides_from(&options, is_member) && !may_trace_everything();
        hides.then_some(Self::MountOption)
    }

    /// What is not visible and why, for the reader of a message.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::MountOption => {
                "processes of other users, their sockets in other network namespaces and what they \
                 hold are not visible to you: /proc is mounted with hidepid"
            }
            Self::PidNamespace => {
                "processes outside this pid namespace, their sockets in other network namespaces \
                 and what they hold are not visible to you"
            }
        }
    }
}

/// Whether `/proc` belongs to the first pid namespace. From another one that may be seen by its
/// kernel threads, whose parent has the number 2 there and nowhere else.
fn shows_first_pid_namespace() -> bool {
    let is_first = |process: &str| {
        fs::metadata(format!("/proc/{process}/ns/pid"))
            .is_ok_and(|namespace| namespace.ino() == FIRST_PID_NAMESPACE)
    };
    is_first("self")
        || is_first("1")
        || fs::read("/proc/2/comm").is_ok_and(|name| name == b"kthreadd\n")
}

/// Options of the filesystem at `/proc`.
fn options_of_proc() -> io::Result<String> {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo")?;
    Ok(options_in(&mounts).unwrap_or_default().to_owned())
}

/// The filesystem's options in the last line of `mounts` that is about `/proc`, the one on top
/// (`proc_pid_mountinfo(5)`).
fn options_in(mounts: &str) -> Option<&str> {
    let mut of_proc = mounts.lines().rev().filter_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let is_at_proc = mount.split(' ').nth(4) == Some("/proc");
        let mut fields = filesystem.split(' ');
        (is_at_proc && fields.next() == Some("proc")).then(|| fields.nth(1)).flatten()
    });
    of_proc.next()
}

/// Whether such options hide processes from a user of these groups (`has_pid_permissions`,
/// `fs/proc/base.c`). The names of the values are those of Linux 5.8, the numbers those before.
fn hides_from(options: &str, is_member: impl Fn(u32) -> bool) -> bool {
    let value = |key: &str| {
        options.split(',').find_map(|option| option.strip_prefix(key)?.strip_prefix('='))
    };
    match value("hidepid") {
        // A folder that may not be entered is listed nonetheless, and counted where it is met.
        None | Some("0" | "off" | "1" | "noaccess") => false,
        Some("4" | "ptraceable") => true,
        Some(_) => {
            let group = value("gid").and_then(|group| group.parse().ok()).unwrap_or(0);
            !is_member(group)
        }
    }
}

fn is_member(group: u32) -> bool {
    getegid().as_raw() == group
        || getgroups().is_ok_and(|groups| groups.iter().any(|other| other.as_raw() == group))
}

/// Whether this thread may look at every process: its capability counts only in the first user
/// namespace.
fn may_trace_everything() -> bool {
    let has_it =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_PTRACE));
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    has_it && map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
24 22 0:23 / /proc/sys/fs/binfmt_misc rw,relatime shared:9 - autofs systemd-1 rw,fd=29
99 22 0:60 / /proc rw,nosuid shared:7 - proc hidden rw,gid=4,hidepid=invisible
";

    #[test]
    fn reads_the_options_of_the_mount_on_top() {
        assert_eq!(options_in(MOUNTS), Some("rw,gid=4,hidepid=invisible"));
        assert_eq!(options_in(MOUNTS.lines().next().unwrap_or_default()), Some("rw"));
        assert_eq!(options_in(""), None);
    }

    #[test]
    fn hidepid_hides_from_all_but_one_group() {
        let member_of = |own: u32| move |group| group == own;
        for shown in ["rw", "rw,hidepid=off", "rw,hidepid=0", "rw,hidepid=noaccess"] {
            assert!(!hides_from(shown, member_of(9)), "{shown}");
        }
        for hidden in ["rw,hidepid=invisible", "rw,hidepid=2", "rw,gid=4,hidepid=2"] {
            assert!(hides_from(hidden, member_of(9)), "{hidden}");
        }
        assert!(!hides_from("rw,gid=4,hidepid=invisible", member_of(4)));
        assert!(!hides_from("rw,hidepid=invisible", member_of(0)));
        assert!(hides_from("rw,gid=4,hidepid=ptraceable", member_of(4)));
    }
}
