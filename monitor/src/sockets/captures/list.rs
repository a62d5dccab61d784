//! The packet, raw and AF_XDP sockets of a network namespace.

use std::{cell::LazyCell, collections::BTreeMap, io, path::Path};

use monitor_kernel::interfaces::{self, Interface};

use super::{
    capture::{CaptureKind, Queue},
    classic_bpf::Filter,
    diag::{self, PacketSocket},
    frame::Layer,
    proc_net::{self, RawLine},
    scope::Offered,
};
use crate::sockets::kernel_modules::Module;

/// `include/uapi/linux/if_ether.h`.
const ETH_P_ALL: u16 = 0x0003;
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;

/// A socket as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sockets) struct ListedCapture {
    pub(in crate::sockets) kind: CaptureKind,
    pub(in crate::sockets) inode: u32,
    /// The packets among which its filter chooses.
    pub(super) offered: Offered,
    /// What it takes without a filter, in words.
    pub(super) unfiltered: &'static str,
    pub(super) filter: ListedFilter,
    /// Where an AF_XDP socket is bound, if that is known.
    pub(super) queue: Option<Queue>,
}

/// The filter of a listed socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListedFilter {
    /// A classic BPF program.
    Classic(Filter),
    /// None, or an eBPF program: the kernel lists both alike.
    NotClassic,
    /// None, as a holder's descriptor shows.
    Absent,
    /// An eBPF program.
    Ebpf,
    /// It is not listed.
    Hidden,
    /// An XDP program chooses, which is not the socket's own.
    Elsewhere,
}

/// The interfaces of the calling thread's namespace by index, which few sockets make necessary.
type LazyInterfaces = LazyCell<BTreeMap<u32, Interface>>;

/// The sockets of the calling thread's namespace, whose `net` folder is `folder`.
pub(in crate::sockets) fn here(folder: &Path) -> io::Result<Vec<ListedCapture>> {
    let packet_sockets = proc_net::packet_sockets(folder)?;
    let interfaces = LazyInterfaces::new(all_interfaces);
    let mut found = Vec::new();
    if !packet_sockets.is_empty() && Module::PacketDiag.is_present() {
        let with_filters = diag::packet_sockets()?;
        let listed = with_filters.iter().filter_map(|socket| packet_socket(socket, &interfaces));
        found.extend(listed);
    } else {
        found.extend(packet_sockets.iter().filter_map(without_filter));
    }
    found.extend(raw_sockets(folder)?);
    match proc_net::xdp_sockets(folder)? {
        0 => {}
        _ if Module::XskDiag.is_present() => {
            found.extend(diag::xdp_sockets()?.into_iter().map(|socket| {
                let queue = socket.bound.and_then(|(interface, number)| {
                    Some(Queue { interface: interfaces.get(&interface)?.name.clone(), number })
                });
                xdp(socket.inode, queue)
            }));
        }
        // Neither their inodes nor their holders are known.
        _ => found.push(xdp(0, None)),
    }
    Ok(found)
}

/// The sockets of another namespace, whose `net` folder is `folder`. Filters are not known.
pub(in crate::sockets) fn of_folder(folder: &Path) -> io::Result<Vec<ListedCapture>> {
    let packet_sockets = proc_net::packet_sockets(folder)?;
    let mut found: Vec<_> = packet_sockets.iter().filter_map(without_filter).collect();
    found.extend(raw_sockets(folder)?);
    if proc_net::xdp_sockets(folder)? > 0 {
        found.push(xdp(0, None));
    }
    Ok(found)
}

fn all_interfaces() -> BTreeMap<u32, Interface> {
    interfaces::here().unwrap_or_else(|error| {
        tracing::debug!(%error, "names and types of interfaces stay unknown");
        BTreeMap::new()
    })
}

/// `None` for a socket that takes neither IPv4 nor IPv6.
fn packet_socket(socket: &PacketSocket, interfaces: &LazyInterfaces) -> Option<ListedCapture> {
    let (ethertype, unfiltered) = offered(socket.protocol)?;
    let filter = match &socket.filter {
        None => ListedFilter::NotClassic,
        // An empty one is hidden from this process.
        Some(bytes) => {
            Filter::from_bytes(bytes).map_or(ListedFilter::Hidden, ListedFilter::Classic)
        }
    };
    let offered = Offered { layer: layer(socket, interfaces), ethertype, protocol: None };
    let (kind, inode) = (CaptureKind::PacketSocket, socket.inode);
    Some(ListedCapture { kind, inode, offered, unfiltered, filter, queue: None })
}

fn without_filter(line: &proc_net::PacketLine) -> Option<ListedCapture> {
    let (ethertype, unfiltered) = offered(line.protocol)?;
    let layer = match i32::from(line.kind) {
        libc::SOCK_DGRAM => Layer::Network,
        // The interface may be one of another namespace, and have no header of its own: rare.
        _ => Layer::Link,
    };
    let offered = Offered { layer, ethertype, protocol: None };
    let (kind, filter) = (CaptureKind::PacketSocket, ListedFilter::Hidden);
    Some(ListedCapture { kind, inode: line.inode, offered, unfiltered, filter, queue: None })
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

/// The header with which packets begin for the filter of a socket: that of Ethernet on every interface
/// (0) and on one that is gone.
fn layer(socket: &PacketSocket, interfaces: &LazyInterfaces) -> Layer {
    if i32::from(socket.kind) == libc::SOCK_DGRAM {
        return Layer::Network;
    }
    let interface = if socket.interface == 0 { None } else { interfaces.get(&socket.interface) };
    if interface.is_none_or(|interface| interface.link.is_ethernet()) {
        Layer::Link
    } else {
        Layer::Network
    }
}

/// Raw sockets of TCP or UDP, whose filters are not listed. That of a socket of IPv4 begins with the
/// header of the network layer, that of IPv6 behind it.
fn raw_sockets(folder: &Path) -> io::Result<impl Iterator<Item = ListedCapture>> {
    let sockets = proc_net::raw_sockets(folder)?;
    Ok(sockets.into_iter().filter_map(|RawLine { is_ipv6, protocol, inode }| {
        let unfiltered = match (i32::from(protocol), is_ipv6) {
            (libc::IPPROTO_TCP, false) => "every TCP packet over IPv4",
            (libc::IPPROTO_TCP, true) => "every TCP packet over IPv6",
            (libc::IPPROTO_UDP, false) => "every UDP packet over IPv4",
            (libc::IPPROTO_UDP, true) => "every UDP packet over IPv6",
            _ => return None,
        };
        let (layer, ethertype) =
            if is_ipv6 { (Layer::Transport, ETH_P_IPV6) } else { (Layer::Network, ETH_P_IP) };
        let offered = Offered { layer, ethertype: Some(ethertype), protocol: Some(protocol) };
        let (kind, filter) = (CaptureKind::RawSocket, ListedFilter::Hidden);
        Some(ListedCapture { kind, inode, offered, unfiltered, filter, queue: None })
    }))
}

/// Which packets reach an AF_XDP socket is up to an XDP program.
const fn xdp(inode: u32, queue: Option<Queue>) -> ListedCapture {
    let offered = Offered { layer: Layer::Link, ethertype: None, protocol: None };
    let (kind, filter) = (CaptureKind::Xdp, ListedFilter::Elsewhere);
    ListedCapture { kind, inode, offered, unfiltered: "", filter, queue }
}
