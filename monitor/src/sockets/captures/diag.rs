//! Packet and AF_XDP sockets by `sock_diag(7)`, of the calling thread's network namespace.
//!
//! The kernel loads a module for a request that it cannot answer (`sock_load_diag_module` in
//! `net/core/sock_diag.c`), so a request is made only where the module is there.

use std::io;

use bytemuck::{Pod, Zeroable};
use monitor_kernel::netlink::{self, Attributes, beginning};
use rustix::net::netlink::SOCK_DIAG;

use crate::sockets::diag::SOCK_DIAG_BY_FAMILY;

/// `struct packet_diag_req` and `struct xdp_diag_req`, which have the same layout.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Request {
    family: u8,
    protocol: u8,
    padding: u16,
    inode: u32,
    show: u32,
    cookie: [u32; 2],
}

/// `PACKET_SHOW_INFO | PACKET_SHOW_FILTER`, `include/uapi/linux/packet_diag.h`.
const SHOW_INFO_AND_FILTER: u32 = 0x01 | 0x20;

/// `struct packet_diag_msg`; `struct xdp_diag_msg` has padding in place of the protocol.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Message {
    family: u8,
    kind: u8,
    protocol: u16,
    inode: u32,
    cookie: [u32; 2],
}

/// `PACKET_DIAG_INFO`; its first member is the index of the interface.
const INFO: u16 = 0;

/// `PACKET_DIAG_FILTER`.
const FILTER: u16 = 7;

/// `XDP_SHOW_INFO`, and the attribute with `struct xdp_diag_info` (`include/uapi/linux/xdp_diag.h`).
const XDP_SHOW_INFO: u32 = 0x01;
const XDP_INFO: u16 = 1;

/// A packet socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PacketSocket {
    /// `SOCK_RAW`, `SOCK_DGRAM` or `SOCK_PACKET`.
    pub(super) kind: u8,
    /// `ETH_P_…` in this machine's byte order.
    pub(super) protocol: u16,
    /// Inode.
    pub(super) inode: u32,
    /// Index of the interface that it is bound to; 0 if to none.
    pub(super) interface: u32,
    /// Its filter. The kernel reports an empty one to those who may not see it, and none for a socket
    /// without a filter and for a filter that is no classic BPF program (`sock_diag_put_filterinfo`).
    pub(super) filter: Option<Vec<u8>>,
}

/// The packet sockets of the namespace.
pub(super) fn packet_sockets() -> io::Result<Vec<PacketSocket>> {
    let mut sockets = Vec::new();
    dump(libc::AF_PACKET, SHOW_INFO_AND_FILTER, |message, rest| {
        let mut socket = PacketSocket {
            kind: message.kind,
            protocol: message.protocol,
            inode: message.inode,
            interface: 0,
            filter: None,
        };
        for (kind, payload) in rest {
            match kind {
                INFO => socket.interface = beginning(payload).unwrap_or(0),
                FILTER => socket.filter = Some(payload.to_vec()),
                _ => {}
            }
        }
        sockets.push(socket);
    })?;
    Ok(sockets)
}

/// An AF_XDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct XdpSocket {
    /// Inode.
    pub(super) inode: u32,
    /// Index of the interface that it is bound to, and the number of the queue there; `None` if it is
    /// not bound.
    pub(super) bound: Option<(u32, u32)>,
}

/// The AF_XDP sockets of the namespace.
pub(super) fn xdp_sockets() -> io::Result<Vec<XdpSocket>> {
    let mut sockets = Vec::new();
    dump(libc::AF_XDP, XDP_SHOW_INFO, |message, rest| {
        let bound = rest.get(XDP_INFO).and_then(beginning::<[u32; 2]>);
        let bound = bound.map(|[interface, queue]| (interface, queue));
        let bound = bound.filter(|(interface, _)| *interface != 0);
        sockets.push(XdpSocket { inode: message.inode, bound });
    })?;
    Ok(sockets)
}

fn dump(family: i32, show: u32, mut visit: impl FnMut(Message, Attributes<'_>)) -> io::Result<()> {
    let request = Request { family: family as u8, show, ..Request::zeroed() };
    let request = netlink::request(SOCK_DIAG_BY_FAMILY, bytemuck::bytes_of(&request), &[]);
    netlink::dump(Some(SOCK_DIAG), &request, |body| {
        let message: Message = beginning(body).ok_or(io::ErrorKind::InvalidData)?;
        visit(message, Attributes::behind(body, size_of::<Message>()));
        Ok(())
    })
}
