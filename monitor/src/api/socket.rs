//! A socket on a watched port and the processes that hold it.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use monitor_common::flow::{Protocol, Side};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{evidence::Evidence, named};
use crate::{
    process::{Identity, User},
    sockets::{self, SocketScope, TcpState},
};

/// A socket that has the port at one of its ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Socket {
    /// Transport protocol.
    #[schemars(with = "String")]
    #[serde(with = "named")]
    pub transport: Protocol,
    /// Family of the local address. An IPv6 socket may take IPv4, too.
    #[schemars(with = "String")]
    #[serde(with = "named")]
    pub family: Family,
    /// Address of this end.
    pub local_address: IpAddr,
    /// Port of this end; absent where several sockets differ in it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub local_port: Option<u16>,
    /// Address of the other end of a connected socket.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peer_address: Option<IpAddr>,
    /// Port of the other end of a connected socket; absent where several sockets differ in it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peer_port: Option<u16>,
    /// State of a TCP socket.
    #[schemars(with = "Option<String>")]
    #[serde(with = "named::option", skip_serializing_if = "Option::is_none", default)]
    pub tcp_state: Option<TcpState>,
    /// At which end the port is.
    #[schemars(with = "String")]
    #[serde(with = "named")]
    pub side: Side,
    /// Inode of the network namespace, as in `/proc/PID/ns/net`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub netns_inode: Option<u32>,
    /// From where it can be reached; absent where that cannot be found out.
    #[schemars(with = "Option<String>")]
    #[serde(with = "named::option", skip_serializing_if = "Option::is_none", default)]
    pub scope: Option<SocketScope>,
    /// The interface that it is bound to (`SO_BINDTODEVICE`), or its link-local address's zone: the name,
    /// or `if7` where only the index is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interface: Option<String>,
    /// Whether an IPv6 socket without a peer accepts no IPv4; absent of any other, and where that is not
    /// known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ipv6_only: Option<bool>,
    /// The processes that have a descriptor of it; absent where they could not be looked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub holders: Option<Vec<Arc<Holder>>>,
    /// How many sockets this row stands for; absent for one.
    #[serde(skip_serializing_if = "is_one", default = "one")]
    pub count: u64,
    /// Who began the connection; absent where that is not known.
    #[schemars(with = "Option<String>")]
    #[serde(with = "named::option", skip_serializing_if = "Option::is_none", default)]
    pub began: Option<Began>,
    /// Whether the configuration expects its owner; absent where that is not known, and for a client
    /// of the port elsewhere.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expected: Option<bool>,
}

/// Address family of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names explain themselves")]
pub enum Family {
    Ipv4,
    Ipv6,
}

/// Who began a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Began {
    /// The other end. Of a connection to a watched port elsewhere: its port is a watched one by chance.
    Peer,
}

/// A process that holds a socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Process id of the parent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub parent_pid: Option<u32>,
    /// Path of the executable, in the mount namespace of the process.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub executable: Option<String>,
    /// Whether the executable has been deleted. Not part of the JSON.
    #[serde(skip)]
    pub executable_is_deleted: bool,
    /// Name of the leading thread.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// Arguments, the name of the program first.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub command_args: Option<Vec<String>>,
    /// Name of the effective user, or its number where it has no name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user: Option<String>,
    /// Id of the container.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub container_id: Option<String>,
    /// The systemd unit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub systemd_unit: Option<String>,
    /// What is known of the executable; absent until it was looked at.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub evidence: Option<Box<Evidence>>,
}

impl Socket {
    /// Converts sockets one by one. Sockets of one process share its [`Holder`].
    pub fn each(sockets: &[sockets::Socket]) -> Vec<Self> {
        // The identities are alive as long as `sockets`, so an address stands for one of them.
        let mut holders = HashMap::<*const Identity, Arc<Holder>>::new();
        let mut holder = |identity: &Arc<Identity>| {
            let holder = holders.entry(Arc::as_ptr(identity));
            Arc::clone(holder.or_insert_with(|| Arc::new(Holder::from(&**identity))))
        };
        sockets.iter().map(|socket| Self::new(socket, &mut holder)).collect()
    }

    fn new(
        socket: &sockets::Socket,
        holder: &mut impl FnMut(&Arc<Identity>) -> Arc<Holder>,
    ) -> Self {
        let entry = &socket.entry;
        let holders = (!socket.holders_unknown).then(|| socket.holders.iter().map(holder));
        Self {
            transport: entry.protocol,
            family: if entry.local.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 },
            local_address: entry.local.ip(),
            local_port: Some(entry.local.port()),
            peer_address: entry.peer.map(|peer| peer.ip()),
            peer_port: entry.peer.map(|peer| peer.port()),
            tcp_state: entry.tcp_state,
            side: socket.side,
            netns_inode: socket.netns_inode,
            scope: socket.scope,
            interface: socket.interface.clone(),
            ipv6_only: entry.is_v6_only,
            holders: holders.map(Iterator::collect),
            count: 1,
            began: socket.is_accepted.then_some(Began::Peer),
            // Where no owner is expected at all, a hidden one is not either; that says nothing of it.
            expected: socket.expected.filter(|is_expected| *is_expected || !socket.holders_unknown),
        }
    }

    /// This end, as far as all sockets of the row have it, with its interface as `ss` writes it:
    /// `[fe80::1]%eth0:2948`, `0.0.0.0%eth0:2948`. An unspecified address that is of IPv6 alone is marked,
    /// because another socket may have the same one for IPv4.
    pub fn local(&self) -> String {
        let mark = if self.is_marked_v6_only() { " v6only" } else { "" };
        end(self.local_address, self.interface.as_deref(), self.local_port) + mark
    }

    fn is_marked_v6_only(&self) -> bool {
        self.ipv6_only == Some(true) && self.local_address.is_unspecified()
    }

    /// Whether the port is that of a client elsewhere, whose connection this host accepted at another
    /// port.
    pub fn is_by_chance(&self) -> bool {
        self.side == Side::Remote && self.began == Some(Began::Peer)
    }

    /// Whether it is a connection that no process has any more, TIME_WAIT mostly.
    pub fn is_left_over(&self) -> bool {
        self.peer_address.is_some() && self.holders.as_ref().is_some_and(Vec::is_empty)
    }

    /// Whether the same processes are known to hold `other`.
    pub fn has_same_holders(&self, other: &Self) -> bool {
        let pids = |holders: &[Arc<Holder>]| holders.iter().map(|h| h.pid).collect::<Vec<_>>();
        match (&self.holders, &other.holders) {
            (Some(one), Some(other)) => pids(one) == pids(other),
            _ => false,
        }
    }

    /// The other end of a connected socket, as far as all sockets of the row have it.
    pub fn peer(&self) -> Option<String> {
        Some(end(self.peer_address?, None, self.peer_port))
    }

    /// Whether `other` may be this socket, or a row that stands for it.
    pub fn is_in(&self, other: &Self) -> bool {
        let has = |port: Option<u16>, of_row: Option<u16>| of_row.is_none() || of_row == port;
        let namespaces = self.netns_inode.zip(other.netns_inode);
        (self.transport, self.tcp_state, self.side)
            == (other.transport, other.tcp_state, other.side)
            && self.local_address == other.local_address
            && self.peer_address == other.peer_address
            && has(self.local_port, other.local_port)
            && has(self.peer_port, other.peer_port)
            && namespaces.is_none_or(|(one, other)| one == other)
    }
}

/// An address, with its interface and its port if they are known.
fn end(address: IpAddr, interface: Option<&str>, port: Option<u16>) -> String {
    let zone = interface.map(|name| format!("%{name}")).unwrap_or_default();
    match (address, port) {
        (IpAddr::V4(address), Some(port)) => format!("{address}{zone}:{port}"),
        (IpAddr::V6(address), Some(port)) => format!("[{address}]{zone}:{port}"),
        (_, None) => format!("{address}{zone}"),
    }
}

const fn one() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_one(count: &u64) -> bool {
    *count == 1
}

impl From<&Identity> for Holder {
    fn from(identity: &Identity) -> Self {
        let cgroup = identity.cgroup.as_deref();
        Self {
            pid: identity.pid,
            parent_pid: identity.parent_pid,
            executable: identity.executable.as_ref().map(|executable| executable.path.clone()),
            executable_is_deleted: identity
                .executable
                .as_ref()
                .is_some_and(|executable| executable.is_deleted),
            name: identity.name.clone(),
            command_args: identity.command_line.as_ref().map(|line| line.arguments.clone()),
            user: identity.effective_user.as_ref().map(User::label),
            container_id: cgroup.and_then(|cgroup| cgroup.container_id.clone()),
            systemd_unit: cgroup.and_then(|cgroup| Some(cgroup.unit.as_ref()?.name.clone())),
            evidence: identity.evidence.known().map(|facts| Box::new(facts.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockets::udp_socket;

    #[test]
    fn sockets_that_differ_in_interface_or_family_are_written_differently() {
        let written = |local: &str, interface: Option<&str>, is_v6_only| {
            let mut socket = udp_socket(2948);
            socket.entry.local = local.parse().expect("an address");
            socket.entry.is_v6_only = is_v6_only;
            socket.interface = interface.map(str::to_owned);
            Socket::each(&[socket]).remove(0).local()
        };
        assert_eq!(written("[fe80::1]:2948", Some("eth0"), Some(true)), "[fe80::1]%eth0:2948");
        assert_eq!(written("0.0.0.0:2948", Some("eth0"), None), "0.0.0.0%eth0:2948");
        assert_eq!(written("[::]:2948", None, Some(false)), "[::]:2948");
        assert_eq!(written("[::]:2948", None, Some(true)), "[::]:2948 v6only");
    }

    #[test]
    fn json_is_read_back_as_it_was_written() {
        let known = sockets::Socket { expected: Some(false), ..udp_socket(2948) };
        let hidden = sockets::Socket { holders_unknown: true, ..known.clone() };
        let sockets = Socket::each(&[known, hidden]);
        let json = serde_json::to_value(&sockets).expect("JSON");
        assert_eq!(json[0]["holders"], serde_json::json!([]));
        assert_eq!(json[1].get("holders"), None, "unknown is absent");
        assert_eq!(json[0]["expected"], false);
        assert_eq!(json[1].get("expected"), None, "of a holder that is not known");
        assert_eq!(serde_json::from_value::<Vec<Socket>>(json).expect("sockets"), sockets);
    }
}
