//! Who holds the watched ports, as labels: the only ones that name programs, users and containers. They
//! are exported where the configuration asks for them, and bounded in number and size.

use std::collections::BTreeSet;

use monitor_common::flow::Protocol;

use crate::{
    process::{Identity, User},
    sockets::Socket,
};

/// Series at most: those of the lowest ports.
pub const MAX_HOLDERS: usize = 64;

/// Characters of a value at most. What is beyond is cut: others choose the names of executables.
const MAX_CHARS: usize = 128;

/// Programs that hold a port alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HolderInfo {
    /// The port.
    pub port: u16,
    /// Its protocol, by name.
    pub protocol: &'static str,
    /// Path of the executable, or the name of the process where that is not known.
    pub executable: String,
    /// The systemd unit.
    pub unit: String,
    /// The effective user: its name, or its number where it has none.
    pub user: String,
    /// Id of the container.
    pub container: String,
}

impl HolderInfo {
    /// The holders of the sockets that a scan found. What is not known is empty.
    pub fn list(sockets: &[Socket]) -> Vec<Self> {
        let held = sockets.iter().filter(|socket| socket.holds_port());
        let holders = held.flat_map(|socket| {
            let new = |holder| Self::new(socket.port, socket.entry.protocol, holder);
            socket.holders.iter().map(move |holder| new(&**holder))
        });
        holders.collect::<BTreeSet<_>>().into_iter().take(MAX_HOLDERS).collect()
    }

    fn new(port: u16, protocol: Protocol, holder: &Identity) -> Self {
        let executable = holder.executable.as_ref().map(|executable| &executable.path);
        let cgroup = holder.cgroup.as_deref();
        let unit = cgroup.and_then(|cgroup| cgroup.unit.as_ref()).map(|unit| &unit.name);
        let user = holder.effective_user.as_ref().map(User::label);
        Self {
            port,
            protocol: protocol.name(),
            executable: bounded(executable.or(holder.name.as_ref())),
            unit: bounded(unit),
            user: bounded(user.as_ref()),
            container: bounded(cgroup.and_then(|cgroup| cgroup.container_id.as_ref())),
        }
    }
}

fn bounded(value: Option<&String>) -> String {
    value.map(|value| value.chars().take(MAX_CHARS).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{process::Executable, sockets::udp_socket};

    fn held_by(port: u16, pid: u32, path: &str) -> Socket {
        let holder = Identity {
            pid,
            executable: Some(Executable { path: path.into(), is_deleted: false }),
            effective_user: Some(User { id: 33, name: None }),
            ..Identity::default()
        };
        let mut socket = Socket { holders: vec![Arc::new(holder)], ..udp_socket(port) };
        socket.entry.inode = pid;
        socket
    }

    #[test]
    fn processes_of_one_program_are_one_holder() {
        let sockets = [held_by(2948, 1, "/usr/bin/a"), held_by(2948, 2, "/usr/bin/a")];
        let holders = HolderInfo::list(&sockets);
        let [holder] = &holders[..] else { panic!("{holders:?}") };
        assert_eq!((holder.port, holder.protocol), (2948, "udp"));
        assert_eq!((&*holder.executable, &*holder.user), ("/usr/bin/a", "33"));
        assert_eq!((&*holder.unit, &*holder.container), ("", ""));
    }

    #[test]
    fn number_and_size_are_bounded() {
        let long = "x".repeat(4096);
        let sockets: Vec<Socket> =
            (1..=200).map(|port| held_by(port, u32::from(port), &long)).collect();
        let holders = HolderInfo::list(&sockets);
        assert_eq!(holders.len(), MAX_HOLDERS);
        assert!(holders.iter().all(|holder| holder.executable.len() == MAX_CHARS));
    }
}
