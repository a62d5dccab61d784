//! The only reader of `struct sock`.

use core::ffi::c_void;

use monitor_common::{
    flow::Protocol,
    offsets::{MISSING, Offsets},
    socket_event::known,
};

use crate::{
    access::{Access, Known, Part as _, Probed},
    packet_view::least,
};

/// Offsets in the running kernel; userspace sets them before load.
#[unsafe(no_mangle)]
static OFFSETS: Offsets = Offsets::MISSING;

/// Reads one offset.
macro_rules! offset {
    ($field:ident) => {{
        // SAFETY: OFFSETS is read-only memory of the object.
        unsafe { (&raw const (*$crate::sock::offsets()).$field).read_volatile() }
    }};
}
pub(crate) use offset;

/// Where the offsets are; [`offset!`] reads one of them without copying the rest.
#[inline(always)]
pub(crate) fn offsets() -> *const Offsets {
    &raw const OFFSETS
}

/// `AF_INET`, `include/linux/socket.h`.
pub(crate) const AF_INET: u16 = 2;
/// `AF_INET6`, `include/linux/socket.h`.
pub(crate) const AF_INET6: u16 = 10;

/// `include/uapi/linux/in.h`.
const IPPROTO_MPTCP: u16 = 262;

/// `include/linux/net.h`.
pub(crate) const SOCK_RAW: u16 = 3;

/// An IP address as it lies in memory; one of IPv4 is the first word. As bytes it would be copied
/// byte by byte.
pub(crate) type IpWords = [u32; 4];

/// What is read from an internet socket. Fields that could not be had are 0 and not in `known`.
#[derive(Clone, Copy)]
pub(crate) struct Sock {
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
    pub(crate) family: u8,
    pub(crate) known: u16,
    /// An MPTCP socket, which has a TCP socket for each of its subflows beside it.
    pub(crate) is_multipath: bool,
    pub(crate) netns_inode: u32,
    pub(crate) address: IpWords,
}

impl Sock {
    /// A socket by what a hook says of it, for kernels where [`read`] cannot be: `None` for one that
    /// is neither TCP nor UDP over IP.
    #[inline(always)]
    pub(crate) fn from_fields(
        family: u16,
        sk_protocol: u16,
        port: u16,
        address: IpWords,
    ) -> Option<Self> {
        let family = match family {
            AF_INET => 4,
            AF_INET6 => 6,
            _ => return None,
        };
        Some(Self {
            protocol: protocol_of(sk_protocol)?,
            port,
            family,
            known: known::FAMILY | known::ADDRESS,
            is_multipath: sk_protocol == IPPROTO_MPTCP,
            netns_inode: 0,
            address,
        })
    }
}

/// Connection states, `include/net/tcp_states.h`.
pub(crate) const TCP_CLOSE: u8 = 7;
/// See [`TCP_CLOSE`].
pub(crate) const TCP_LISTEN: u8 = 10;

/// Whether [`read`] can find anything: userspace gives no offsets where the kernel has no type
/// information, or lets no program read its memory. What is behind a "no" is never verified.
#[inline(always)]
pub(crate) fn is_readable() -> bool {
    offset!(sock_family) != MISSING
        && offset!(sock_protocol) != MISSING
        && offset!(sock_num) != MISSING
}

/// Local port of an internet socket, host byte order; 0 while it has none.
#[inline(always)]
pub(crate) fn port_of<A: Access>(sk: *const c_void) -> Option<u16> {
    A::member(sk, offset!(sock_num))
}

/// A socket, of which what lies together is read together.
pub(crate) struct Members<A: Access> {
    /// `struct sock_common`: addresses, ports, family, state, namespace.
    common: A::Part<12>,
    /// What protocol it is of, and what the program has fixed.
    kind: A::Part<2>,
}

impl<A: Access> Members<A> {
    /// Those of a socket, to be read.
    #[inline(always)]
    pub(crate) fn of(sk: *const c_void) -> Self {
        let userlocks = offset!(sock_userlocks_bits) / 8;
        let first = least(least(offset!(sock_protocol), offset!(sock_type)), userlocks);
        Self { common: A::part(sk, 0), kind: A::part(sk, first & !7) }
    }

    /// Reads the socket, if it is one of TCP or UDP over IP; `None` as well where the kernel's BTF
    /// did not say where family and protocol are.
    #[inline(always)]
    pub(crate) fn read(&mut self) -> Option<Sock> {
        if !is_readable() || !self.common.read() || !self.kind.read() {
            return None;
        }
        let family: u16 = self.common.member(offset!(sock_family))?;
        let number: u16 = self.kind.member(offset!(sock_protocol))?;
        let protocol = protocol_of(number)?;
        // The "port" of a raw socket is its protocol.
        if self.kind.member(offset!(sock_type)) == Some(SOCK_RAW) {
            return None;
        }
        let mut sock = Sock {
            protocol,
            port: self.common.member(offset!(sock_num))?,
            family: 0,
            known: known::FAMILY,
            is_multipath: number == IPPROTO_MPTCP,
            netns_inode: 0,
            address: [0; 4],
        };
        match family {
            AF_INET => {
                sock.family = 4;
                let address: Known<u32> = self.common.known(offset!(sock_rcv_saddr));
                sock.address[0] = address.value;
                sock.known |= address.flag(known::ADDRESS);
            }
            AF_INET6 => {
                sock.family = 6;
                let address: Known<IpWords> = self.common.known(offset!(sock_v6_rcv_saddr));
                sock.address = address.value;
                sock.known |= address.flag(known::ADDRESS);
            }
            _ => return None,
        }
        let netns: Known<usize> = self.common.known(offset!(sock_net));
        let inode: Known<u32> = A::known(netns.value as *const c_void, offset!(net_inum));
        sock.netns_inode = inode.value;
        sock.known |= inode.flag(known::NETNS);
        Some(sock)
    }

    /// Whether closing this socket gives back a port that it took on purpose: one that a bind named,
    /// or a listener's, or a TCP socket's that was bound and never connected. An accepted socket
    /// shares its listener's port, and a client's is the kernel's affair.
    #[inline(always)]
    pub(crate) fn holds_port(&self, sock: &Sock) -> bool {
        if sock.port == 0 {
            return false;
        }
        match sock.protocol {
            Protocol::Udp => self.has_named_port().unwrap_or(true),
            Protocol::Tcp => {
                let state: Option<u8> = self.common.member(offset!(sock_state));
                let remote_port: Option<u16> = self.common.member(offset!(sock_dport));
                state == Some(TCP_LISTEN)
                    || (state == Some(TCP_CLOSE) && remote_port == Some(0))
                    || self.has_named_port() == Some(true)
            }
        }
    }

    /// `sk->sk_userlocks & SOCK_BINDPORT_LOCK`: a bind named the port. The kernel takes the lock off
    /// the sockets that a listener accepts, `sk_clone_lock` in `net/core/sock.c`.
    #[inline(always)]
    pub(crate) fn has_named_port(&self) -> Option<bool> {
        const SOCK_BINDPORT_LOCK: u8 = 8;
        let bits = offset!(sock_userlocks_bits);
        if bits == MISSING {
            return None;
        }
        let byte: u8 = self.kind.member(bits / 8)?;
        Some(byte >> (bits % 8) & SOCK_BINDPORT_LOCK != 0)
    }
}

/// Reads a TCP or UDP socket over IP as any program may; `None` for any other.
#[inline(always)]
pub(crate) fn read(sk: *const c_void) -> Option<Sock> {
    Members::<Probed>::of(sk).read()
}

/// MPTCP listens and binds as TCP, `net/mptcp/protocol.c`.
#[inline(always)]
pub(crate) fn protocol_of(sk_protocol: u16) -> Option<Protocol> {
    match sk_protocol {
        IPPROTO_MPTCP => Some(Protocol::Tcp),
        number if number <= 255 => Protocol::from_ip_number(number as u8),
        _ => None,
    }
}

/// The socket through which a program holds this one.
///
/// The subflow of an MPTCP socket, which is a TCP socket, is held through the socket of the whole,
/// `mptcp_sock_graft` in `net/mptcp/protocol.h`.
#[inline(always)]
pub(crate) fn socket_of<A: Access>(sk: *const c_void) -> Option<*const c_void> {
    A::member(sk, offset!(sock_socket))
}

/// Whether this is the subflow of an MPTCP socket.
#[inline(always)]
pub(crate) fn is_subflow<A: Access>(sk: *const c_void) -> bool {
    owner_of::<A>(sk).is_some_and(|owner| owner != sk)
}

/// The MPTCP socket of a subflow, and any other socket itself.
#[inline(always)]
pub(crate) fn owner_of<A: Access>(sk: *const c_void) -> Option<*const c_void> {
    A::member(socket_of::<A>(sk)?, offset!(socket_sk))
}
