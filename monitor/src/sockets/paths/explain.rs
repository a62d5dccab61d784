//! What answers where no table leads packets elsewhere: a program that chooses sockets, or a process
//! that takes packets and answers them by itself.

use std::{collections::BTreeSet, fs::File, io, os::fd::AsFd as _, sync::Arc};

use monitor_common::flow::{Protocol, Side};
use monitor_kernel::other_programs::{self, OtherProgram};

use super::{
    program_holders::{self, Object},
    route::{Place, PortReach},
    xdp::{self, Taker},
};
use crate::{
    process::{Identity, ProcessEnricher, pod},
    sockets::{
        captures::{Capture, CaptureKind},
        holders::distinct,
        reach::{Path, Reach, Standing},
        socket::{Socket, TcpState},
    },
};

/// What a scan of the sockets found, seen from one network namespace.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Inode of the namespace whose packets were answered.
    pub netns_inode: u32,
    /// The sockets on watched ports.
    pub sockets: &'a [Socket],
    /// Sockets that take packets without holding a port.
    pub captures: &'a [Capture],
    /// Those that were there shortly before: a program may answer and end before the scan.
    pub past_captures: &'a [Capture],
    /// The answers to packets that no hook of this agent has seen: something took them before.
    pub to_unseen: &'a [(u16, Protocol)],
    /// Interfaces whose XDP program is this agent's.
    pub own_xdp: &'a BTreeSet<String>,
}

/// The ways to those of `suspects`, which are answered, that `found` has no way to, or only ways that
/// are over. One that cannot be found out is [`Path::Unknown`].
pub fn explain(
    suspects: &[(u16, Protocol)],
    found: &[PortReach],
    evidence: Evidence<'_>,
    processes: &mut ProcessEnricher,
) -> Vec<PortReach> {
    let standing = |&(port, protocol): &(u16, Protocol)| {
        let ways = found.iter().filter(|reach| (reach.port, reach.protocol) == (port, protocol));
        ways.map(|reach| reach.standing).max()
    };
    let is_explained = |suspect: &&_| standing(suspect) > Some(Standing::Over);
    let unexplained: Vec<_> = suspects.iter().filter(|suspect| !is_explained(suspect)).collect();
    if unexplained.is_empty() {
        return Vec::new();
    }
    let chooser = programs_that_choose_sockets().unwrap_or_else(|error| {
        tracing::debug!(%error, "programs that choose sockets cannot be listed");
        Vec::new()
    });
    // The last one that has a say: each may overrule those before it.
    let chooser = chooser.into_iter().next_back();
    let taker = if evidence.to_unseen.is_empty() { None } else { evidence.taker() };
    let explain = |&&(port, protocol): &&(u16, Protocol)| {
        let taker = taker.as_ref().filter(|_| evidence.to_unseen.contains(&(port, protocol)));
        let way = match taker {
            Some(Taker { program, holders, .. }) => {
                let (target, holders) = (Some(program.clone()), holders.clone());
                Way { path: Path::Xdp, target, holders, standing: Standing::InUse }
            }
            None => evidence.way(port, protocol, chooser.as_ref(), processes),
        };
        PortReach {
            port,
            protocol,
            netns_inode: evidence.netns_inode,
            reach: Reach { path: way.path, target: way.target },
            standing: way.standing,
            connections: None,
            place: if way.path == Path::Unknown { Place::Unknown } else { Place::Here },
            pod: pod::of_first(&way.holders),
            holders: way.holders,
        }
    };
    let is_known = |way: &PortReach| {
        way.reach.path != Path::Unknown || standing(&(way.port, way.protocol)).is_none()
    };
    unexplained.iter().map(explain).filter(is_known).collect()
}

/// The programs that choose sockets in the calling thread's network namespace.
///
/// # Errors
///
/// The kernel is older than Linux 5.9, or CAP_NET_ADMIN is missing.
pub fn programs_that_choose_sockets() -> io::Result<Vec<OtherProgram>> {
    let netns = File::open("/proc/thread-self/ns/net")?;
    other_programs::choosing_sockets(netns.as_fd())
}

/// The processes that may be at the end of a way.
type Holders = Vec<Arc<Identity>>;

/// A way, its target, and the processes there.
struct Way {
    path: Path,
    target: Option<String>,
    holders: Vec<Arc<Identity>>,
    standing: Standing,
}

impl Evidence<'_> {
    /// The XDP program of others that takes packets before the hooks, if there is only one, or only one
    /// that has sockets to give them to.
    fn taker(&self) -> Option<Taker> {
        let takers = xdp::takers(self.netns_inode, self.captures, |program, _| {
            self.own_xdp.contains(&program.interface)
        });
        let mut takers = takers.unwrap_or_else(|error| {
            tracing::debug!(%error, "XDP programs of others cannot be listed");
            Vec::new()
        });
        if takers.len() > 1 {
            takers.retain(|taker| taker.has_sockets);
        }
        let only = takers.pop();
        only.filter(|_| takers.is_empty())
    }

    fn way(
        &self,
        port: u16,
        protocol: Protocol,
        chooser: Option<&OtherProgram>,
        processes: &mut ProcessEnricher,
    ) -> Way {
        let accepted = self.holders_of_connections(port, protocol);
        let target = |path, standing, holders: Vec<Arc<Identity>>| {
            let target = holders.first().map(|holder| process(holder));
            Way { path, target, holders, standing }
        };
        // Those that are there explain better than those that were.
        let times = [(Standing::InUse, self.captures), (Standing::Over, self.past_captures)];
        let by_capture = |path, holders: &dyn Fn(&[Capture]) -> Option<Holders>| {
            let mut ways = times.into_iter().filter(|_| accepted.is_empty());
            ways.find_map(|(standing, captures)| Some(target(path, standing, holders(captures)?)))
        };
        let targeted = |captures: &[Capture]| self.holders_of_targeted(captures, port, protocol);
        if let Some(way) = by_capture(Path::PacketSocket, &targeted) {
            return way;
        }
        if let Some(program) = chooser {
            let holders = if accepted.is_empty() {
                program_holders::find(&[Object::Program(program.id)], processes)
            } else {
                accepted
            };
            let (path, target) = (Path::SkLookup, Some(program.to_string()));
            return Way { path, target, holders, standing: Standing::InUse };
        }
        let raw = |captures: &[Capture]| self.holder_of_raw_socket(captures, protocol);
        by_capture(Path::RawSocket, &raw)
            .unwrap_or_else(|| target(Path::Unknown, Standing::InUse, Vec::new()))
    }

    /// The holders of connections to a port that has no listener.
    fn holders_of_connections(&self, port: u16, protocol: Protocol) -> Vec<Arc<Identity>> {
        let is_accepted = |socket: &&Socket| {
            socket.port == port
                && socket.side == Side::Local
                && socket.netns_inode == Some(self.netns_inode)
                && socket.entry.protocol == protocol
                && socket.entry.tcp_state == Some(TcpState::Established)
        };
        distinct(self.sockets.iter().filter(is_accepted).flat_map(|socket| &socket.holders))
    }

    /// The holders of those of `captures` that are packet sockets and look for packets of watched
    /// ports, this one among them.
    fn holders_of_targeted(
        &self,
        captures: &[Capture],
        port: u16,
        protocol: Protocol,
    ) -> Option<Vec<Arc<Identity>>> {
        let takes_it = |capture: &&Capture| {
            let ports = capture.scope.ports().iter();
            capture.kind == CaptureKind::PacketSocket
                && capture.is_targeted()
                && ports.into_iter().any(|p| (p.port, p.protocol) == (port, protocol))
        };
        let captures = self.of_this_namespace(captures).filter(takes_it);
        let holders = distinct(captures.flat_map(|capture| &capture.holders));
        (!holders.is_empty()).then_some(holders)
    }

    /// The holder of raw sockets of the protocol among `captures`, if it is the only one.
    fn holder_of_raw_socket(
        &self,
        captures: &[Capture],
        protocol: Protocol,
    ) -> Option<Vec<Arc<Identity>>> {
        let name = protocol.name().to_uppercase();
        let takes_it = |capture: &&Capture| {
            capture.kind == CaptureKind::RawSocket && capture.unfiltered.contains(&*name)
        };
        let captures = self.of_this_namespace(captures).filter(takes_it);
        let holders = distinct(captures.flat_map(|capture| &capture.holders));
        (holders.len() == 1).then_some(holders)
    }

    fn of_this_namespace<'c>(&self, captures: &'c [Capture]) -> impl Iterator<Item = &'c Capture> {
        let here = Some(self.netns_inode);
        captures.iter().filter(move |capture| capture.netns_inode == here)
    }
}

/// `python3 (pid 4711)`.
fn process(holder: &Identity) -> String {
    match &holder.name {
        Some(name) => format!("{name} (pid {})", holder.pid),
        None => format!("pid {}", holder.pid),
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;
    use crate::config::CommandLines;
    use crate::sockets::{
        captures::{CapturedPort, Scope, packet_socket},
        socket::{Entry, udp_socket},
    };

    const HERE: u32 = 4_026_531_840;

    static NO_INTERFACES: BTreeSet<String> = BTreeSet::new();

    const fn evidence<'a>(sockets: &'a [Socket], captures: &'a [Capture]) -> Evidence<'a> {
        let (past_captures, to_unseen, own_xdp) = (&[], &[], &NO_INTERFACES);
        Evidence { netns_inode: HERE, sockets, captures, past_captures, to_unseen, own_xdp }
    }

    fn held_by(pid: u32) -> Vec<Arc<Identity>> {
        vec![Arc::new(Identity { name: Some("nc".to_owned()), ..Identity::unknown(pid) })]
    }

    fn path(
        protocol: Protocol,
        (sockets, captures): (&[Socket], &[Capture]),
        chooser: Option<&OtherProgram>,
    ) -> (Path, Option<String>) {
        let evidence = evidence(sockets, captures);
        let way =
            evidence.way(2948, protocol, chooser, &mut ProcessEnricher::new(CommandLines::Omitted));
        (way.path, way.target)
    }

    #[test]
    fn a_packet_socket_that_looks_for_the_port_may_answer() {
        let udp = CapturedPort { port: 2948, protocol: Protocol::Udp };
        let targeted =
            Capture { holders: held_by(7), ..packet_socket(Scope::OnlyWatched(vec![udp])) };
        let others = [
            Capture { holders: held_by(8), ..packet_socket(Scope::Everything) },
            Capture { holders: held_by(9), ..packet_socket(Scope::WatchedToo(vec![udp])) },
            Capture { netns_inode: Some(1), ..targeted.clone() },
        ];
        let expected = (Path::PacketSocket, Some("nc (pid 7)".to_owned()));
        assert_eq!(path(Protocol::Udp, (&[], slice::from_ref(&targeted)), None), expected);
        let unknown = (Path::Unknown, None);
        assert_eq!(path(Protocol::Tcp, (&[], slice::from_ref(&targeted)), None), unknown);
        assert_eq!(path(Protocol::Udp, (&[], &others), None), unknown);

        let before = Evidence { past_captures: slice::from_ref(&targeted), ..evidence(&[], &[]) };
        let mut processes = ProcessEnricher::new(CommandLines::Omitted);
        let way = before.way(2948, Protocol::Udp, None, &mut processes);
        assert_eq!((way.path, way.standing), (Path::PacketSocket, Standing::Over));
        assert_eq!(way.holders, held_by(7));
    }

    #[test]
    fn the_only_holder_of_raw_sockets_may_answer() {
        let raw = |pid| Capture {
            kind: CaptureKind::RawSocket,
            unfiltered: "every UDP packet over IPv4",
            holders: held_by(pid),
            ..packet_socket(Scope::Everything)
        };
        let one = (Path::RawSocket, Some("nc (pid 7)".to_owned()));
        assert_eq!(path(Protocol::Udp, (&[], &[raw(7), raw(7)]), None), one);
        assert_eq!(path(Protocol::Udp, (&[], &[raw(7), raw(8)]), None), (Path::Unknown, None));
        assert_eq!(path(Protocol::Tcp, (&[], &[raw(7)]), None), (Path::Unknown, None));
    }

    #[test]
    fn a_program_that_chooses_sockets_explains_what_nothing_else_does() {
        let program = OtherProgram { id: 12, name: Some("tubular".to_owned()) };
        let expected = (Path::SkLookup, Some("tubular (program 12)".to_owned()));
        assert_eq!(path(Protocol::Tcp, (&[], &[]), Some(&program)), expected);
        let socket = udp_socket(2948);
        let entry = Entry {
            protocol: Protocol::Tcp,
            tcp_state: Some(TcpState::Established),
            peer: Some(([10, 0, 0, 9], 40_000).into()),
            ..socket.entry
        };
        let accepted = Socket { entry, netns_inode: Some(HERE), holders: held_by(7), ..socket };
        let evidence = evidence(slice::from_ref(&accepted), &[]);
        let mut processes = ProcessEnricher::new(CommandLines::Omitted);
        let way = evidence.way(2948, Protocol::Tcp, Some(&program), &mut processes);
        assert_eq!(way.holders, held_by(7));
    }
}
