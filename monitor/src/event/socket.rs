//! The socket of an event.

use std::net::{IpAddr, SocketAddr};

use monitor_common::{flow::Protocol, socket_record::Family};
use serde::{Serialize, Serializer};

use crate::{catalogue, sockets::Socket};

/// The socket of an event, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "every field is explained by the name it is serialized with")]
pub struct SocketFields {
    #[serde(
        rename = "network.transport",
        serialize_with = "protocol_name",
        skip_serializing_if = "Option::is_none"
    )]
    pub transport: Option<Protocol>,
    #[serde(
        rename = "network.type",
        serialize_with = "family_name",
        skip_serializing_if = "Option::is_none"
    )]
    pub family: Option<Family>,
    #[serde(rename = "network.local.address", skip_serializing_if = "Option::is_none")]
    pub local_address: Option<IpAddr>,
    #[serde(rename = "network.local.port", skip_serializing_if = "Option::is_none")]
    pub local_port: Option<u16>,
    #[serde(rename = "ghostport.service", skip_serializing_if = "Option::is_none")]
    pub service: Option<&'static str>,
    /// Name of the interface that the socket is bound to.
    #[serde(rename = "network.interface.name", skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    #[serde(rename = "ghostport.ipv6_only", skip_serializing_if = "Option::is_none")]
    pub is_v6_only: Option<bool>,
    #[serde(rename = "ghostport.kernel_socket", skip_serializing_if = "std::ops::Not::not")]
    pub is_of_kernel: bool,
    /// `ghostport.netns_inode`. The encoder writes it, behind the result of a bind.
    #[serde(skip)]
    pub netns_inode: Option<u32>,
}

impl SocketFields {
    /// A socket of which nothing is known.
    pub const fn unknown() -> Self {
        Self {
            transport: None,
            family: None,
            local_address: None,
            local_port: None,
            service: None,
            interface: None,
            is_v6_only: None,
            is_of_kernel: false,
            netns_inode: None,
        }
    }

    /// A socket of which only the port is known.
    pub(super) fn on_port(port: u16) -> Self {
        Self { local_port: Some(port), service: service(port), ..Self::unknown() }
    }

    /// A socket that was found open. One that listens and has no holder is the kernel's.
    pub(super) fn found(socket: &Socket) -> Self {
        Self {
            interface: socket.interface.clone(),
            is_v6_only: socket.entry.is_v6_only,
            is_of_kernel: socket.holders.is_empty() && !socket.holders_unknown,
            netns_inode: socket.netns_inode,
            ..Self::at(socket.entry.protocol, socket.entry.local)
        }
    }

    /// A socket whose local end is known.
    pub fn at(protocol: Protocol, local: SocketAddr) -> Self {
        Self {
            transport: Some(protocol),
            family: Some(if local.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }),
            local_address: Some(local.ip()),
            ..Self::on_port(local.port())
        }
    }
}

/// Name of the service that the catalogue has for `port`.
pub(super) fn service(port: u16) -> Option<&'static str> {
    catalogue::lookup(port).map(|service| service.name)
}

/// An error number: its name, or the number where this list has no name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Errno {
    /// The name in `errno.h`.
    Name(&'static str),
    /// The number itself.
    Number(u32),
}

impl From<u32> for Errno {
    /// The error numbers of the generic ABI that `bind(2)` and the hooks around it can return
    /// (`asm-generic/errno-base.h`, `errno.h`).
    fn from(number: u32) -> Self {
        match number {
            1 => Self::Name("EPERM"),
            9 => Self::Name("EBADF"),
            11 => Self::Name("EAGAIN"),
            12 => Self::Name("ENOMEM"),
            13 => Self::Name("EACCES"),
            14 => Self::Name("EFAULT"),
            19 => Self::Name("ENODEV"),
            22 => Self::Name("EINVAL"),
            88 => Self::Name("ENOTSOCK"),
            95 => Self::Name("EOPNOTSUPP"),
            97 => Self::Name("EAFNOSUPPORT"),
            98 => Self::Name("EADDRINUSE"),
            99 => Self::Name("EADDRNOTAVAIL"),
            105 => Self::Name("ENOBUFS"),
            _ => Self::Number(number),
        }
    }
}

fn protocol_name<S: Serializer>(
    protocol: &Option<Protocol>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    protocol.map(Protocol::name).serialize(serializer)
}

fn family_name<S: Serializer>(family: &Option<Family>, serializer: S) -> Result<S::Ok, S::Error> {
    family.map(Family::name).serialize(serializer)
}
