//! The packet, raw and AF_XDP sockets of a network namespace.

use std::{io, path::Path};

use super::{
    capture::CaptureKind,
    classic_bpf::Filter,
    diag::{self, PacketSocket},
    frame::Layer,
    links,
    modules::Module,
    proc_net::{self, RawLine},
    scope::Offered,
};

/// `include/uapi/linux/if_ether.h`.
const ETH_P_ALL: u16 = 0x0003;
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;

/// A socket as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sockets) struct ListedCapture {
    pub(in crate::sockets) kind: CaptureKind,
    pub(in crate::sockets) inode: u32,
    pub(super) takes: Takes,
}

/// Which packets a listed socket takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Those that a filter accepts.
    Filtered(Filter, Offered),
    /// All of those that the text describes.
    Everything(&'static str),
    /// It is not known.
    Unknown,
}

/// The sockets of the calling thread's namespace, whose `net` folder is `folder`.
pub(in crate::sockets) fn here(folder: &Path) -> io::Result<Vec<ListedCapture>> {
    let packet_sockets = proc_net::packet_sockets(folder)?;
    let mut found = Vec::new();
    if !packet_sockets.is_empty() && Module::PacketDiag.is_there() {
        let with_filters = diag::packet_sockets()?;
        found.extend(with_filters.iter().filter_map(packet_socket));
    } else {
        found.extend(packet_sockets.iter().filter_map(without_filter));
    }
    found.extend(raw_sockets(folder)?);
    match proc_net::xdp_sockets(folder)? {
        0 => {}
        _ if Module::XskDiag.is_there() => found.extend(diag::xdp_sockets()?.into_iter().map(xdp)),
        // Neither their inodes nor their holders are known.
        _ => found.push(xdp(0)),
    }
    Ok(found)
}

/// The sockets of another namespace, whose `net` folder is `folder`. Filters are not known.
pub(in crate::sockets) fn of_folder(folder: &Path) -> io::Result<Vec<ListedCapture>> {
    let packet_sockets = proc_net::packet_sockets(folder)?;
    let mut found: Vec<_> = packet_sockets.iter().filter_map(without_filter).collect();
    found.extend(raw_sockets(folder)?);
    if proc_net::xdp_sockets(folder)? > 0 {
        found.push(xdp(0));
    }
    Ok(found)
}

/// `None` for a socket that takes neither IPv4 nor IPv6.
fn packet_socket(socket: &PacketSocket) -> Option<ListedCapture> {
    let (ethertype, everything) = offered(socket.protocol)?;
    let takes = match &socket.filter {
        None => Takes::Everything(everything),
        Some(bytes) => match Filter::from_bytes(bytes) {
            Some(filter) => Takes::Filtered(filter, Offered { layer: layer(socket), ethertype }),
            None => Takes::Unknown,
        },
    };
    Some(ListedCapture { kind: CaptureKind::PacketSocket, inode: socket.inode, takes })
}

fn without_filter(line: &proc_net::PacketLine) -> Option<ListedCapture> {
    offered(line.protocol)?;
    let (kind, takes) = (CaptureKind::PacketSocket, Takes::Unknown);
    Some(ListedCapture { kind, inode: line.inode, takes })
}

/// The only type of packets that a protocol stands for, and all of them in words.
const fn offered(protocol: u16) -> Option<(Option<u16>, &'static str)> {
    match protocol {
        ETH_P_ALL => Some((None, "everything")),
        ETH_P_IP => Some((Some(ETH_P_IP), "every IPv4 packet")),
        ETH_P_IPV6 => Some((Some(ETH_P_IPV6), "every IPv6 packet")),
        _ => None,
    }
}

/// The header with which packets begin for the filter of a socket.
fn layer(socket: &PacketSocket) -> Layer {
    if i32::from(socket.kind) == libc::SOCK_DGRAM {
        Layer::Network
    } else {
        links::layer(socket.interface)
    }
}

/// Raw sockets of TCP or UDP. Their filters are not listed anywhere.
fn raw_sockets(folder: &Path) -> io::Result<impl Iterator<Item = ListedCapture>> {
    let sockets = proc_net::raw_sockets(folder)?;
    Ok(sockets.into_iter().filter_map(|RawLine { is_ipv6, protocol, inode }| {
        let everything = match (i32::from(protocol), is_ipv6) {
            (libc::IPPROTO_TCP, false) => "every TCP packet over IPv4",
            (libc::IPPROTO_TCP, true) => "every TCP packet over IPv6",
            (libc::IPPROTO_UDP, false) => "every UDP packet over IPv4",
            (libc::IPPROTO_UDP, true) => "every UDP packet over IPv6",
            _ => return None,
        };
        let takes = Takes::Everything(everything);
        Some(ListedCapture { kind: CaptureKind::RawSocket, inode, takes })
    }))
}

/// Which packets reach an AF_XDP socket is up to an XDP program.
const fn xdp(inode: u32) -> ListedCapture {
    ListedCapture { kind: CaptureKind::Xdp, inode, takes: Takes::Unknown }
}
