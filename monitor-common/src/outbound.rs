//! Processes that send to watched ports of other hosts: the key by which a call is known to be the
//! first one.

/// A process, and the port of another host that it sends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct OutboundKey {
    /// Address of the peer; an IPv4 address is in the first word.
    pub address: [u32; 4],
    /// Thread group, in the initial pid namespace.
    pub tgid: u32,
    /// Watched port of the peer, host byte order.
    pub port: u16,
    /// Transport protocol: 6, 17, 132 or 136.
    pub protocol: u8,
    /// Version of IP.
    pub family: u8,
}
const _: () = assert!(size_of::<OutboundKey>() == 24);
