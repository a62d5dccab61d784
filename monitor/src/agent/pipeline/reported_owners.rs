//! The unexpected owners that have an event.

use std::collections::{HashMap, hash_map::Entry};

use monitor_common::flow::Protocol;

use crate::process::Identity;

/// A program of a user on a port. A service has many processes of one program, of which one event is
/// enough.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Owner {
    port: u16,
    protocol: Protocol,
    executable: Option<String>,
    user: Option<u32>,
}

/// The unexpected owners that have an event, as long as they hold the port.
#[derive(Debug, Default)]
pub(super) struct ReportedOwners {
    /// When each was last seen, `CLOCK_BOOTTIME`.
    seen: HashMap<Owner, u64>,
}

impl ReportedOwners {
    /// Notes that an unexpected process bound or holds a port. Returns whether it has no event yet.
    pub(super) fn add(
        &mut self,
        port: u16,
        protocol: Protocol,
        process: &Identity,
        at_ns: u64,
    ) -> bool {
        let owner = Owner {
            port,
            protocol,
            executable: process.executable.as_ref().map(|executable| executable.path.clone()),
            user: process.effective_user.as_ref().map(|user| user.id),
        };
        match self.seen.entry(owner) {
            Entry::Vacant(entry) => {
                entry.insert(at_ns);
                true
            }
            Entry::Occupied(mut seen) => {
                let last_ns = at_ns.max(*seen.get());
                seen.insert(last_ns);
                false
            }
        }
    }

    /// Forgets those that a scan that began at `at_ns` has not found.
    pub(super) fn end_scan(&mut self, at_ns: u64) {
        self.seen.retain(|_, seen| *seen >= at_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Executable, User};

    fn process(pid: u32, path: &str) -> Identity {
        Identity {
            executable: Some(Executable { path: path.to_owned(), is_deleted: false }),
            effective_user: Some(User { id: 7, name: None }),
            ..Identity::unknown(pid)
        }
    }

    #[test]
    fn a_program_is_new_once_for_as_long_as_it_holds_the_port() {
        let mut owners = ReportedOwners::default();
        let mut add = |pid, path, at| owners.add(2948, Protocol::Udp, &process(pid, path), at);
        assert!(add(1, "/bin/a", 1));
        assert!(!add(2, "/bin/a", 2), "another process of the same program");
        assert!(add(1, "/bin/b", 2), "it executes another program");
        owners.end_scan(2);
        assert!(!owners.add(2948, Protocol::Udp, &process(1, "/bin/b"), 3));
        assert!(owners.add(2948, Protocol::Tcp, &process(1, "/bin/b"), 3));
        owners.end_scan(4);
        assert!(owners.add(2948, Protocol::Udp, &process(1, "/bin/b"), 5));
    }
}
