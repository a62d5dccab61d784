//! The identity of a process.

use std::sync::Arc;

use jiff::Timestamp;

use super::{cgroup::Cgroup, evidence::Evidence};

/// A process, as far as it is known. What is not known is absent.
///
/// Ids are those of the initial pid and user namespaces, provided that `/proc` is that of the
/// initial pid namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Process id. Another process may have it later: [`Self::start_time_ns`] distinguishes them.
    pub pid: u32,
    /// Process id of the parent.
    pub parent_pid: Option<u32>,
    /// When the process was made, `CLOCK_BOOTTIME`, nanoseconds; in whole clock ticks, rounded
    /// down, if the kernel side did not capture it.
    pub start_time_ns: Option<u64>,
    /// The same as time of day.
    pub creation_time: Option<Timestamp>,
    /// What it executes.
    pub executable: Option<Executable>,
    /// Whether that is the host's file of the same path, or was until it was replaced. It is not in a
    /// container, nor in a mount namespace with something else at that path.
    pub executable_is_hosts: bool,
    /// Whether it is in the user namespace of the host's first process.
    pub is_in_hosts_user_namespace: bool,
    /// Whether it is in the mount namespace of the host's first process, or of the agent.
    pub is_in_hosts_mount_namespace: bool,
    /// Name of its leading thread, which is that of the executable until the process changes it;
    /// at most 15 bytes.
    pub name: Option<String>,
    /// Its arguments; `None` if command lines are left out.
    pub command_line: Option<CommandLine>,
    /// Real user.
    pub real_user: Option<User>,
    /// Effective user, whose privileges it has.
    pub effective_user: Option<User>,
    /// Its control group: container, pod and systemd unit.
    pub cgroup: Option<Arc<Cgroup>>,
    /// Inode of the network namespace it is in; a socket it holds may be of another one.
    pub netns_inode: Option<u32>,
    /// Its parent first, then that one's; at most [`MAX_ANCESTORS`]. The chain ends at the first that
    /// was not found.
    pub ancestors: Vec<Ancestor>,
    /// What was found out about the file that it executes.
    pub evidence: Evidence,
}

/// Ancestors that are kept.
pub const MAX_ANCESTORS: usize = 8;

/// What a process executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executable {
    /// Path, in the mount namespace of the process.
    pub path: String,
    /// Whether it has been deleted since: replaced by an update, or to hide it.
    pub is_deleted: bool,
}

/// Arguments of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The arguments, the program's name first.
    pub arguments: Vec<String>,
    /// Whether there was more than is kept.
    pub is_truncated: bool,
}

/// A user of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub id: u32,
    /// Name in the host's `/etc/passwd`.
    pub name: Option<String>,
}

impl User {
    /// The name, or the number where there is none.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.id.to_string())
    }
}

/// A process that another one descends from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// Process id.
    pub pid: u32,
    /// Name of its leading thread.
    pub name: String,
    /// What it executes.
    pub executable: Option<Executable>,
}

impl Identity {
    /// A process of which only the id is known.
    pub(crate) const fn unknown(pid: u32) -> Self {
        Self {
            pid,
            parent_pid: None,
            start_time_ns: None,
            creation_time: None,
            executable: None,
            executable_is_hosts: false,
            is_in_hosts_user_namespace: false,
            is_in_hosts_mount_namespace: false,
            name: None,
            command_line: None,
            real_user: None,
            effective_user: None,
            cgroup: None,
            netns_inode: None,
            ancestors: Vec::new(),
            evidence: Evidence::Pending,
        }
    }
}

impl CommandLine {
    /// Whether `whole` may be the same command line, of which more is kept.
    pub(super) fn is_beginning_of(&self, whole: &Self) -> bool {
        if !self.is_truncated {
            return self.arguments == whole.arguments;
        }
        let Some((last, before)) = self.arguments.split_last() else { return true };
        whole.arguments.starts_with(before)
            && whole.arguments.get(before.len()).is_some_and(|cut| cut.starts_with(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(arguments: &[&str], is_truncated: bool) -> CommandLine {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        CommandLine { arguments, is_truncated }
    }

    #[test]
    fn recognises_a_truncated_command_line() {
        let whole = line(&["nc", "-l", "2948"], false);
        assert!(line(&["nc", "-l", "2948"], false).is_beginning_of(&whole));
        assert!(line(&["nc", "-l", "29"], true).is_beginning_of(&whole));
        assert!(line(&[], true).is_beginning_of(&whole));
        assert!(!line(&["nc", "-l", "29"], false).is_beginning_of(&whole));
        assert!(!line(&["nc", "-u", "29"], true).is_beginning_of(&whole));
        assert!(!line(&["nc", "-l", "2948", "x"], true).is_beginning_of(&whole));
    }
}
