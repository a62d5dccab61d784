//! What events alike have in common, as a number.

use std::{
    hash::{BuildHasher as _, Hash, RandomState},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use monitor_common::flow::Protocol;

use crate::event::{
    Bind, Call, CallerFields, Connect, EventBody, FailedBind, Identified, SocketFields,
    UnexpectedOwner,
};

/// Bits of the networks into which peers are grouped.
const IPV4_PREFIX: u8 = 24;
const IPV6_PREFIX: u8 = 64;

/// The groups that an event may be in. A group is named by a keyed hash of what its events have in
/// common: with 64 bits, two groups of the same name are not expected in the life of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    /// The group of the events that are alike.
    pub(super) alike: u64,
    /// The group for those that found no room.
    pub(super) overflow: u64,
    /// Whose share of the groups it counts against: a user's, and root's in a container.
    pub(super) owner: u64,
}

/// Computes keys.
#[derive(Debug, Default)]
pub(super) struct Hasher(RandomState);

impl Hasher {
    /// The keys of a socket call; `None` for other events.
    pub(super) fn of_call(&self, body: &EventBody) -> Option<Keys> {
        let (call, expected, errno) = match body {
            EventBody::Bind(Bind { call, expected })
            | EventBody::Listen(Bind { call, expected })
            | EventBody::Close(Bind { call, expected }) => (call, *expected, None),
            EventBody::BindFailed(FailedBind { bind, errno, .. }) => {
                (&bind.call, bind.expected, Some(*errno))
            }
            EventBody::UnexpectedOwner(
                UnexpectedOwner::Bound(call) | UnexpectedOwner::Differs { call, .. },
            )
            | EventBody::Connect(Connect { call, .. }) => (call, None, None),
            _ => return None,
        };
        let Call { socket, caller, .. } = call;
        let SocketFields { local_address, netns_inode, .. } = socket;
        let transport = socket.transport.map(Protocol::name);
        let common = (body.name().kind(), body.port(), transport, errno);
        let peers = match body {
            EventBody::Connect(connect) => connect.peer_address.map(network),
            _ => None,
        };
        let program = caller.as_ref().map(program);
        let own = (local_address, netns_inode, expected, peers, program);
        let owner = self.0.hash_one(caller.as_ref().map(owner));
        Some(self.keys(&common, &own, owner))
    }

    /// The keys of a conversation.
    pub(super) fn of_conversation(&self, identified: &Identified) -> Keys {
        let Identified { port, direction, identification, peer, .. } = identified;
        let transport = identified.socket.transport.map(Protocol::name);
        let verdict = (identification.verdict.name(), identification.grade.name());
        // Over loopback, a request and its answer have the same direction.
        let is_local = identified.socket.local_port == Some(*port);
        let common = (*port, is_local, transport, *direction as usize, verdict);
        self.keys(&common, &network(peer.ip()), 0)
    }

    /// A number that a process has alone: ids are used again, start times are not.
    pub(super) fn of_process(&self, caller: Option<&CallerFields>) -> u64 {
        self.0.hash_one(caller.map(|caller| (caller.pid, caller.creation_time)))
    }

    /// A number for a peer.
    pub(super) fn of_peer(&self, peer: IpAddr) -> u64 {
        self.0.hash_one(peer)
    }

    fn keys(&self, common: &impl Hash, own: &impl Hash, owner: u64) -> Keys {
        Keys {
            alike: self.0.hash_one((common, own)),
            overflow: self.0.hash_one((common, owner)),
            owner,
        }
    }
}

/// What makes a program the same one: not the process, of which it may have many.
fn program(caller: &CallerFields) -> impl Hash {
    let CallerFields { identity, executable_name, command_args, user_id, cgroup_id, .. } = caller;
    let path = identity.executable_path.as_deref();
    let executable = path.or(executable_name.as_deref());
    let group = identity.cgroup.as_deref().ok_or(*cgroup_id);
    (executable, command_args, *user_id, group, identity.container_id.as_deref())
}

/// Whose program it is: a user's, and root's by container. Other users may name control groups that
/// systemd has delegated to them like those of containers, as many as they like.
fn owner(caller: &CallerFields) -> impl Hash {
    let container = caller.identity.container_id.as_deref();
    (caller.user_id, container.filter(|_| caller.user_id == Some(0)))
}

/// The network in which peers are alike, with the bits of its prefix.
pub(super) fn network(peer: IpAddr) -> (IpAddr, u8) {
    match peer.to_canonical() {
        IpAddr::V4(address) => {
            let bits = address.to_bits() & (u32::MAX << (32 - IPV4_PREFIX));
            (Ipv4Addr::from_bits(bits).into(), IPV4_PREFIX)
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits() & (u128::MAX << (128 - IPV6_PREFIX));
            (Ipv6Addr::from_bits(bits).into(), IPV6_PREFIX)
        }
    }
}
