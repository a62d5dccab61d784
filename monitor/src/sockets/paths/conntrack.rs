//! Connections whose destination the kernel translates, from its table of connections
//! (`net/netfilter/nf_conntrack_netlink.c`).

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path as FilePath,
};

use monitor_common::{flow::Protocol, ports::PortSet};
use monitor_kernel::netlink::{Attributes, beginning, dump, request};
use rustix::net::netlink::NETFILTER;

use super::{
    route::{Flow, MOST_FLOWS, Route, Target},
    timeouts::{CTA_STATUS, Timeouts},
};
use crate::sockets::{addresses::Addresses, kernel_modules::Module, namespaces::HERE, reach::Path};

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET`.
const GET_CONNECTIONS: u16 = 0x0101;

/// `struct nfgenmsg`: every family.
const EVERY_FAMILY: [u8; 4] = [0; 4];

/// Attributes (`linux/netfilter/nfnetlink_conntrack.h`).
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_PROTOINFO: u16 = 4;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_SCTP: u16 = 3;
/// `CTA_PROTOINFO_TCP_STATE`, and `CTA_PROTOINFO_SCTP_STATE`.
const CTA_PROTOINFO_STATE: u16 = 1;

/// `IPS_SEEN_REPLY`.
const IS_ANSWERED: u32 = 2;

/// `TCP_CONNTRACK_LAST_ACK`, `_TIME_WAIT`, `_CLOSE` (`linux/netfilter/nf_conntrack_tcp.h`): both ends
/// have sent their FIN, or one of them a reset.
const TCP_IS_OVER: [u8; 3] = [6, 7, 8];

/// `SCTP_CONNTRACK_CLOSED`, `_SHUTDOWN_ACK_SENT` (`linux/netfilter/nf_conntrack_sctp.h`): aborted,
/// or shut down by both ends.
const SCTP_IS_OVER: [u8; 2] = [1, 7];

/// Which end of a tuple.
#[derive(Clone, Copy)]
enum End {
    Source,
    Destination,
}

/// Whether connections are tracked here, and can be listed without loading a module.
pub(super) fn is_present() -> bool {
    FilePath::new("/proc/sys/net/netfilter/nf_conntrack_count").exists()
        && Module::Nfnetlink.can_be_asked()
        && Module::ConntrackNetlink.can_be_asked()
}

/// The routes of the answered connections to one of `ports` at an address of `local` whose
/// destination is translated. The table keeps connections that are over for some minutes: these say
/// how packets were answered, and not that they are.
pub(super) fn routes(ports: &PortSet, local: &Addresses) -> io::Result<Vec<Route>> {
    let timeouts = Timeouts::here();
    let mut counts = BTreeMap::<(u16, &str, SocketAddr), Route>::new();
    let request = request(GET_CONNECTIONS, &EVERY_FAMILY, &[]);
    dump(Some(NETFILTER), &request, |body| {
        let Some(translated) = translated(body) else { return Ok(()) };
        let Translated { protocol, from, to, client, is_over } = translated;
        if !ports.contains(from.port()) || !local.contains(from.ip()) {
            return Ok(());
        }
        let is_here = to.ip() == from.ip() || local.contains(to.ip());
        let route = counts.entry((from.port(), protocol.name(), to)).or_insert_with(|| Route {
            port: from.port(),
            protocol,
            path: if is_here { Path::Redirect } else { Path::Dnat },
            target: Some(Target { address: Some(to.ip()), port: to.port() }),
            connections: Some(0),
            flows: Vec::new(),
            has_ended: false,
        });
        if is_over {
            route.has_ended = true;
            return Ok(());
        }
        route.connections = route.connections.map(|count| count + 1);
        if route.flows.len() < MOST_FLOWS {
            let is_idle = timeouts.is_idle(protocol, Attributes::behind(body, EVERY_FAMILY.len()));
            route.flows.push(Flow { target: to, client, is_idle });
        }
        Ok(())
    })?;
    Ok(counts.into_values().collect())
}

/// The ports among `ports` from which packets of others leave this host: their source is translated
/// to an address of this host.
///
/// # Errors
///
/// The kernel refuses to list the connections.
pub fn masqueraded(ports: &PortSet) -> io::Result<BTreeSet<(u16, &'static str)>> {
    let mut found = BTreeSet::new();
    if !is_present() {
        return Ok(found);
    }
    let local = Addresses::read(FilePath::new(HERE))?;
    dump(Some(NETFILTER), &request(GET_CONNECTIONS, &EVERY_FAMILY, &[]), |body| {
        if let Some((protocol, end)) = translated_source(body)
            && ports.contains(end.port())
            && local.contains(end.ip())
        {
            found.insert((end.port(), protocol.name()));
        }
        Ok(())
    })?;
    Ok(found)
}

/// The end of this host that a connection of others appears to come from.
fn translated_source(body: &[u8]) -> Option<(Protocol, SocketAddr)> {
    let attributes = Attributes::behind(body, EVERY_FAMILY.len());
    let opened = attributes.nested(CTA_TUPLE_ORIG)?;
    let from = end(opened, End::Source)?;
    let to = end(attributes.nested(CTA_TUPLE_REPLY)?, End::Destination)?;
    let number = opened.nested(CTA_TUPLE_PROTO)?.get(CTA_PROTO_NUM)?.first()?;
    Some((Protocol::from_ip_number(*number)?, to)).filter(|_| from != to)
}

/// A connection that was answered by another end than the one it was opened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Translated {
    protocol: Protocol,
    from: SocketAddr,
    to: SocketAddr,
    /// The other end, as `to` has it.
    client: SocketAddr,
    /// Whether the connection has ended, so that no packet of it will be answered.
    is_over: bool,
}

fn translated(body: &[u8]) -> Option<Translated> {
    let attributes = Attributes::behind(body, EVERY_FAMILY.len());
    if attributes.be32(CTA_STATUS)? & IS_ANSWERED == 0 {
        return None;
    }
    let opened = attributes.nested(CTA_TUPLE_ORIG)?;
    let from = end(opened, End::Destination)?;
    let answered = attributes.nested(CTA_TUPLE_REPLY)?;
    let (to, client) = (end(answered, End::Source)?, end(answered, End::Destination)?);
    let number = opened.nested(CTA_TUPLE_PROTO)?.get(CTA_PROTO_NUM)?.first()?;
    let protocol = Protocol::from_ip_number(*number)?;
    let is_over = is_over(protocol, attributes);
    (from != to).then_some(Translated { protocol, from, to, client, is_over })
}

/// Whether the kernel knows that a connection has ended. Protocols without connections have no end.
fn is_over(protocol: Protocol, connection: Attributes<'_>) -> bool {
    let (kind, ends) = match protocol {
        Protocol::Tcp => (CTA_PROTOINFO_TCP, &TCP_IS_OVER[..]),
        Protocol::Sctp => (CTA_PROTOINFO_SCTP, &SCTP_IS_OVER[..]),
        Protocol::Udp | Protocol::UdpLite => return false,
    };
    let info = connection.nested(CTA_PROTOINFO).and_then(|info| info.nested(kind));
    let state = info.and_then(|info| info.get(CTA_PROTOINFO_STATE)?.first());
    state.is_some_and(|state| ends.contains(state))
}

fn end(tuple: Attributes<'_>, end: End) -> Option<SocketAddr> {
    // CTA_IP_V4_SRC, CTA_IP_V4_DST, CTA_IP_V6_SRC, CTA_IP_V6_DST.
    let (v4, v6, port) = match end {
        End::Source => (1, 3, CTA_PROTO_SRC_PORT),
        End::Destination => (2, 4, CTA_PROTO_DST_PORT),
    };
    let ip = tuple.nested(CTA_TUPLE_IP)?;
    let address: IpAddr = match ip.get(v4) {
        Some(address) => Ipv4Addr::from(beginning::<[u8; 4]>(address)?).into(),
        None => Ipv6Addr::from(beginning::<[u8; 16]>(ip.get(v6)?)?).into(),
    };
    Some(SocketAddr::new(address, tuple.nested(CTA_TUPLE_PROTO)?.be16(port)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = [4 + value.len() as u16, kind].map(u16::to_ne_bytes).concat();
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn tuple(kind: u16, source: (u8, u16), destination: (u8, u16)) -> Vec<u8> {
        let ip = [attribute(1, &[10, 0, 0, source.0]), attribute(2, &[10, 0, 0, destination.0])]
            .concat();
        let proto = [
            attribute(CTA_PROTO_NUM, &[6]),
            attribute(CTA_PROTO_SRC_PORT, &source.1.to_be_bytes()),
            attribute(CTA_PROTO_DST_PORT, &destination.1.to_be_bytes()),
        ]
        .concat();
        let both = [attribute(0x8001, &ip), attribute(0x8002, &proto)].concat();
        attribute(0x8000 | kind, &both)
    }

    fn connection(status: u32, reply: Vec<u8>) -> Option<Translated> {
        let opened = tuple(CTA_TUPLE_ORIG, (9, 40000), (1, 2948));
        let status = attribute(CTA_STATUS, &status.to_be_bytes());
        translated(&[EVERY_FAMILY.to_vec(), opened, reply, status].concat())
    }

    #[test]
    fn knows_connections_that_are_over() {
        let has_ended = |protocol, kind, state: u8| {
            let info = attribute(0x8000 | kind, &attribute(CTA_PROTOINFO_STATE, &[state]));
            let bytes = attribute(0x8000 | CTA_PROTOINFO, &info);
            is_over(protocol, Attributes::behind(&bytes, 0))
        };
        let of = |protocol, kind| -> Vec<u8> {
            (0..=9).filter(|state| has_ended(protocol, kind, *state)).collect()
        };
        // Of the others some packet may still be answered: SYN_RECV, ESTABLISHED, FIN_WAIT, …
        assert_eq!(of(Protocol::Tcp, CTA_PROTOINFO_TCP), [6, 7, 8]);
        assert_eq!(of(Protocol::Sctp, CTA_PROTOINFO_SCTP), [1, 7]);
        assert!(of(Protocol::Udp, CTA_PROTOINFO_TCP).is_empty(), "it has no end");
    }

    #[test]
    fn finds_the_target_of_answered_connections_only() {
        let reply = |from| tuple(CTA_TUPLE_REPLY, from, (9, 40000));
        let expected = Translated {
            protocol: Protocol::Tcp,
            from: "10.0.0.1:2948".parse().expect("an address"),
            to: "10.0.0.7:8080".parse().expect("an address"),
            client: "10.0.0.9:40000".parse().expect("an address"),
            is_over: false,
        };
        assert_eq!(connection(IS_ANSWERED, reply((7, 8080))), Some(expected));
        assert_eq!(connection(0, reply((7, 8080))), None, "not answered");
        assert_eq!(connection(IS_ANSWERED, reply((1, 2948))), None, "not translated");
    }
}
