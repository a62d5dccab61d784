//! From what is known of a process to the program of the baseline.

use std::sync::Arc;

use monitor_ledger::listeners::{KERNEL, Listener, Program, Scope};

use super::change::ListenerChange;
use crate::{
    process::{Identity, User},
    sockets::{OpenListener, SocketScope},
};

/// The container of which only the id is known, which is another one next time.
const ANY_CONTAINER: &str = "*";

/// The program that a process executes.
pub fn program_of(process: &Identity) -> Program {
    let cgroup = process.cgroup.as_deref();
    let unit = cgroup.and_then(|cgroup| cgroup.unit.as_ref());
    let container = cgroup.and_then(|cgroup| cgroup.container_id.as_deref());
    let user = process.effective_user.as_ref();
    Program {
        executable: process.executable.as_ref().map(|executable| executable.path.clone()),
        unit: unit.map(|unit| unit.name.clone()),
        user: user.map(User::label),
        container: container.map(|id| container_name(id).to_owned()),
    }
}

/// The name of a container, where its runtime uses it as the id. Other ids are hexadecimal.
fn container_name(id: &str) -> &str {
    let is_id = id.len() >= 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if is_id { ANY_CONTAINER } else { id }
}

/// The process that stands for all that hold a socket: the oldest, which is the one that opened it, or
/// the service manager that did so for it.
pub fn opener(holders: &[Arc<Identity>]) -> Option<&Identity> {
    let holders = holders.iter().map(Arc::as_ref);
    holders.min_by_key(|holder| (holder.start_time_ns.is_none(), holder.start_time_ns, holder.pid))
}

fn kernel() -> Program {
    Program { executable: Some(KERNEL.to_owned()), ..Program::default() }
}

/// A listener as its call shows it, for the baseline. It has no user: a service may give up its privileges
/// afterwards, and the user of the call is not the one that a scan finds.
pub fn as_opened(change: &ListenerChange) -> Listener {
    let socket = &change.listener;
    let caller = || change.caller.as_ref().map(program_of).unwrap_or_default();
    Listener {
        protocol: socket.protocol,
        port: socket.port,
        scope: scope(socket.scope_of_address()),
        // One for datagrams is a listener because its program named the port.
        port_was_named: socket.protocol.is_datagram().then_some(true),
        program: Program { user: None, ..if socket.is_of_kernel { kernel() } else { caller() } },
    }
}

/// A listener as the baseline knows it. One without a holder is the kernel's.
pub fn as_learned(open: &OpenListener) -> Listener {
    let OpenListener { socket, port_was_named } = open;
    Listener {
        protocol: socket.entry.protocol,
        port: socket.port,
        scope: scope(socket.scope),
        port_was_named: *port_was_named,
        program: opener(&socket.holders).map_or_else(kernel, program_of),
    }
}

/// A listener of unknown scope may be reached.
pub(super) const fn scope(scope: Option<SocketScope>) -> Scope {
    match scope {
        Some(SocketScope::Host) => Scope::Host,
        Some(SocketScope::World) | None => Scope::World,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use monitor_common::{flow::Protocol, socket_event::Mechanism};

    use super::*;
    use crate::{
        listeners::{ListenerSocket, ListenerTurn},
        process::{Cgroup, Executable},
        sockets::udp_socket,
    };

    fn process(pid: u32, start_time_ns: u64) -> Identity {
        Identity {
            start_time_ns: Some(start_time_ns),
            executable: Some(Executable { path: format!("/bin/{pid}"), is_deleted: true }),
            effective_user: Some(User { id: 33, name: None }),
            ..Identity::unknown(pid)
        }
    }

    #[test]
    fn the_oldest_holder_stands_for_all() {
        let holders = [process(7, 20), process(9, 10), Identity::unknown(1)].map(Arc::new);
        assert_eq!(opener(&holders).map(|holder| holder.pid), Some(9));
        assert_eq!(opener(&[]), None);
    }

    #[test]
    fn a_program_is_what_outlives_its_process() {
        let path = format!("/system.slice/docker-{}.scope", "4c01db0b339c1a7f".repeat(4));
        let contained =
            Identity { cgroup: Some(Arc::new(Cgroup::from_path(&path))), ..process(7, 1) };
        let program = program_of(&contained);
        assert_eq!(program.container.as_deref(), Some("*"));
        assert_eq!(
            (program.executable.as_deref(), program.user.as_deref()),
            (Some("/bin/7"), Some("33"))
        );
        let lxc = Cgroup::from_path("/lxc.payload.web/system.slice/nginx.service");
        let named = Identity { cgroup: Some(Arc::new(lxc)), ..process(7, 1) };
        assert_eq!(program_of(&named).container.as_deref(), Some("web"));
    }

    #[test]
    fn a_listener_without_a_holder_is_the_kernels() {
        let open = OpenListener { socket: udp_socket(4789), port_was_named: None };
        let learned = as_learned(&open);
        assert_eq!(learned.program.executable.as_deref(), Some(KERNEL));
        assert_eq!((learned.port, learned.scope), (4789, Scope::World), "its scope is unknown");
    }

    fn opened(protocol: Protocol, is_of_kernel: bool) -> Listener {
        let listener = ListenerSocket {
            protocol,
            address: Some([0, 0, 0, 0].into()),
            port: 50_000,
            interface: None,
            is_v6_only: None,
            netns_inode: None,
            is_of_kernel,
        };
        as_opened(&ListenerChange {
            turn: ListenerTurn::Opened,
            time: Timestamp::UNIX_EPOCH,
            boottime_ns: 0,
            listener,
            count: 1,
            caller: Some(process(7, 1)),
            mechanism: Mechanism::Fexit,
        })
    }

    #[test]
    fn a_call_shows_that_a_port_for_datagrams_was_named_and_no_user() {
        let udp = opened(Protocol::Udp, false);
        assert_eq!((udp.port_was_named, udp.program.user), (Some(true), None));
        assert_eq!(udp.program.executable.as_deref(), Some("/bin/7"));
        assert_eq!(opened(Protocol::UdpLite, false).port_was_named, Some(true));
        assert_eq!(opened(Protocol::Tcp, false).port_was_named, None, "listen names no port");
        let of_kernel = opened(Protocol::Udp, true).program.executable;
        assert_eq!(of_kernel.as_deref(), Some(KERNEL));
    }
}
