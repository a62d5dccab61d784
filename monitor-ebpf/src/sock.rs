//! The only reader of `struct sock`.

use core::ffi::c_void;

use monitor_common::{
    flow::Protocol,
    offsets::{MISSING, Offsets},
    socket_event::known,
};

use crate::{
    access::{Access, Known, Part, Probed},
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

/// Address of the offsets; [`offset!`] reads one of them without copying the rest.
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

/// An IP address in memory order; an IPv4 address is the first word. An array of bytes would be
/// copied byte by byte.
pub(crate) type IpWords = [u32; 4];

/// The fields of an internet socket. Unknown fields are 0 and not in `known`.
#[derive(Clone, Copy)]
pub(crate) struct Sock {
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
    pub(crate) family: u8,
    pub(crate) known: u32,
    /// An MPTCP socket, which has a TCP socket for each of its subflows beside it.
    pub(crate) is_multipath: bool,
    pub(crate) netns_inode: u32,
    pub(crate) address: IpWords,
    /// Index of the interface that it is bound to, 0 for none.
    pub(crate) interface: u32,
    /// Inode of the socket; see [`Self::read_inode`].
    pub(crate) inode: u32,
}

impl Sock {
    /// A socket from the fields of a hook's context, where [`read`] is not available: `None` unless it
    /// is of a [`Protocol`] over IP.
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
            interface: 0,
            inode: 0,
        })
    }

    /// Adds the inode of the socket through which a program holds `sk`. The inode follows the `struct
    /// socket` (`struct socket_alloc`, `include/net/sock.h`).
    #[inline(always)]
    pub(crate) fn read_inode(&mut self, sk: *const c_void) {
        let socket = Probed::known::<usize>(sk, offset!(sock_socket)).value as *const c_void;
        let inode: Known<u64> = Probed::known(socket, offset!(socket_inode));
        self.inode = inode.value as u32;
    }

    /// Adds the network namespace of `sk`. Only its first members are read: the verifier takes the
    /// pointer of a context as it is, without an offset.
    #[inline(always)]
    pub(crate) fn read_namespace<A: Access>(&mut self, sk: *const c_void) {
        let mut common = A::part::<12>(sk, 0);
        if !common.read() {
            return;
        }
        let netns: Known<usize> = common.known(offset!(sock_net));
        let inode: Known<u32> = A::known(netns.value as *const c_void, offset!(net_inum));
        self.netns_inode = inode.value;
        self.known |= inode.flag(known::NETNS);
    }
}

/// Connection states, `include/net/tcp_states.h`.
pub(crate) const TCP_CLOSE: u8 = 7;
/// See [`TCP_CLOSE`].
pub(crate) const TCP_CLOSE_WAIT: u8 = 8;
/// See [`TCP_CLOSE`].
pub(crate) const TCP_LISTEN: u8 = 10;

/// Whether [`read`] is available: userspace gives no offsets where the kernel has no BTF or lets no
/// program read its memory. The verifier skips code behind a constant "no".
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

/// The port that an internet socket had last, host byte order.
#[inline(always)]
pub(crate) fn last_port_of(sk: *const c_void) -> u16 {
    let port: Known<u16> = Probed::known(sk, offset!(socket_source_port));
    u16::from_be(port.value)
}

/// A socket, whose adjacent members are read together.
pub(crate) struct Members<A: Access> {
    sk: *const c_void,
    /// `struct sock_common`: addresses, ports, family, state, namespace.
    common: A::Part<12>,
    /// Protocol, type and the properties that the program has fixed.
    kind: A::Part<2>,
}

impl<A: Access> Members<A> {
    /// Prepares to read a socket.
    #[inline(always)]
    pub(crate) fn of(sk: *const c_void) -> Self {
        let userlocks = offset!(sock_userlocks_bits) / 8;
        let first = least(least(offset!(sock_protocol), offset!(sock_type)), userlocks);
        Self { sk, common: A::part(sk, 0), kind: A::part(sk, first & !7) }
    }

    /// Reads the socket, if it is of a [`Protocol`] over IP; `None` also where the kernel's BTF lacks family
    /// or protocol.
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
            interface: 0,
            inode: 0,
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
                sock.known |= address.flag(known::ADDRESS) | self.v6_only();
            }
            _ => return None,
        }
        let netns: Known<usize> = self.common.known(offset!(sock_net));
        let inode: Known<u32> = A::known(netns.value as *const c_void, offset!(net_inum));
        sock.netns_inode = inode.value;
        sock.known |= inode.flag(known::NETNS);
        let interface: Known<u32> = self.common.known(offset!(sock_bound_dev_if));
        sock.interface = interface.value;
        sock.known |= interface.flag(known::INTERFACE);
        if self.belongs_to_kernel(protocol) {
            sock.known |= known::KERNEL_SOCKET;
        }
        Some(sock)
    }

    /// The flags about `IPV6_V6ONLY`.
    #[inline(always)]
    fn v6_only(&self) -> u32 {
        match bit(&self.common, offset!(sock_v6_only_bits)) {
            Some(true) => known::V6_ONLY_READ | known::V6_ONLY,
            Some(false) => known::V6_ONLY_READ,
            None => 0,
        }
    }

    /// `sk->sk_kern_sock`: the kernel made the socket for itself, `sk_alloc` in `net/core/sock.c`. It
    /// makes the subflows of an MPTCP socket, too, which is a program's; they have a context
    /// (`mptcp_subflow_create_socket`, `net/mptcp/subflow.c`).
    #[inline(always)]
    fn belongs_to_kernel(&self, protocol: Protocol) -> bool {
        if bit(&self.kind, offset!(sock_kernel_bits)) != Some(true) {
            return false;
        }
        let context: Known<usize> = Probed::known(self.sk, offset!(socket_ulp_data));
        !matches!(protocol, Protocol::Tcp) || context.value == 0
    }

    /// Whether this is a socket for datagrams that a bind gave a port of the program's choice: a
    /// listener. Reads less than [`Self::read`].
    #[inline(always)]
    pub(crate) fn is_datagram_listener(&mut self) -> bool {
        self.is_for_datagrams() && self.has_named_port() == Some(true)
    }

    /// Whether it is a listener: it listens, or it is for datagrams and has a port of the program's
    /// choice.
    #[inline(always)]
    pub(crate) fn is_listener(&mut self) -> bool {
        if !self.common.read() {
            return false;
        }
        self.common.member(offset!(sock_state)) == Some(TCP_LISTEN) || self.is_datagram_listener()
    }

    /// Whether it is a socket of UDP or UDP-Lite.
    #[inline(always)]
    pub(crate) fn is_for_datagrams(&mut self) -> bool {
        if !is_readable() || !self.kind.read() {
            return false;
        }
        self.kind.member(offset!(sock_protocol)).is_some_and(is_of_datagrams)
    }

    /// Whether closing this socket releases a port that the program chose: the port named in a bind,
    /// a listener's port, or that of a TCP socket that was bound and never connected. An accepted
    /// socket shares its listener's port, and a client's port was chosen by the kernel.
    #[inline(always)]
    pub(crate) fn holds_port(&self, sock: &Sock) -> bool {
        if sock.port == 0 {
            return false;
        }
        match sock.protocol {
            Protocol::Udp | Protocol::UdpLite => self.has_named_port().unwrap_or(true),
            // `sctp_do_bind` does not lock the port, and accepted sockets share their listener's.
            Protocol::Sctp => self.common.member(offset!(sock_state)) == Some(TCP_LISTEN),
            Protocol::Tcp => {
                let state: Option<u8> = self.common.member(offset!(sock_state));
                let remote_port: Option<u16> = self.common.member(offset!(sock_dport));
                state == Some(TCP_LISTEN)
                    || (state == Some(TCP_CLOSE) && remote_port == Some(0))
                    || self.has_named_port() == Some(true)
            }
        }
    }

    /// `sk->sk_userlocks & SOCK_BINDPORT_LOCK`: a bind named the port. The kernel clears the lock of
    /// accepted sockets, `sk_clone_lock` in `net/core/sock.c`.
    #[inline(always)]
    pub(crate) fn has_named_port(&self) -> Option<bool> {
        const SOCK_BINDPORT_LOCK: u32 = 3;
        let bits = offset!(sock_userlocks_bits);
        if bits == MISSING {
            return None;
        }
        bit(&self.kind, bits + SOCK_BINDPORT_LOCK)
    }
}

/// A bit of a struct.
#[inline(always)]
fn bit(part: &impl Part, at: u32) -> Option<bool> {
    if at == MISSING {
        return None;
    }
    let byte: u8 = part.member(at / 8)?;
    Some(byte >> (at % 8) & 1 != 0)
}

/// Reads a socket of a [`Protocol`] over IP, from any program; `None` for any other socket.
#[inline(always)]
pub(crate) fn read(sk: *const c_void) -> Option<Sock> {
    Members::<Probed>::of(sk).read()
}

/// Whether `sk` is a socket of UDP or UDP-Lite. Reads that one member alone.
#[inline(always)]
pub(crate) fn is_for_datagrams<A: Access>(sk: *const c_void) -> bool {
    A::member(sk, offset!(sock_protocol)).is_some_and(is_of_datagrams)
}

#[inline(always)]
fn is_of_datagrams(sk_protocol: u16) -> bool {
    const UDP: u16 = Protocol::Udp.ip_number() as u16;
    const UDP_LITE: u16 = Protocol::UdpLite.ip_number() as u16;
    matches!(sk_protocol, UDP | UDP_LITE)
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
/// The subflow of an MPTCP socket, a TCP socket, is held through the MPTCP socket,
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
