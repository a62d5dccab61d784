//! The address that a bind asks for, and binds between their entry and their return.

use crate::sock::{self, IpWords};

/// `struct sockaddr_in` and the head of `struct sockaddr_in6`, which share their first four bytes.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Sockaddr {
    family: u16,
    port: [u8; 2],
    /// `sin_addr`, or `sin6_flowinfo`.
    word: u32,
    /// `sin6_addr`.
    address: IpWords,
}

impl Sockaddr {
    /// No address requested.
    pub(crate) const NONE: Self = Self { family: 0, port: [0; 2], word: 0, address: [0; 4] };

    /// Reads a sockaddr with a helper that reads kernel or user memory. An IPv4 address may be the
    /// last sixteen bytes that can be read.
    #[inline(always)]
    pub(crate) fn read(at: u64, read_word: impl Fn(u64) -> Option<u64>) -> Option<Self> {
        let [family_low, family_high, port_high, port_low, a, b, c, d] =
            read_word(at)?.to_ne_bytes();
        let mut sockaddr = Self {
            family: u16::from_ne_bytes([family_low, family_high]),
            port: [port_high, port_low],
            word: u32::from_ne_bytes([a, b, c, d]),
            address: [0; 4],
        };
        if sockaddr.family == sock::AF_INET6 {
            let words = [read_word(at + 8)?, read_word(at + 16)?];
            sockaddr.address = bytemuck::cast(words);
        }
        Some(sockaddr)
    }

    /// Address in the form of a record, for a socket of family 4 or 6.
    #[inline(always)]
    pub(crate) fn address(&self) -> IpWords {
        if self.family == sock::AF_INET6 { self.address } else { [self.word, 0, 0, 0] }
    }

    /// Whether its address is one of the socket's own family.
    #[inline(always)]
    pub(crate) fn is_of(&self, family: u8) -> bool {
        (self.family == sock::AF_INET6) == (family == 6)
    }

    /// Port, host byte order.
    #[inline(always)]
    pub(crate) fn port(&self) -> u16 {
        u16::from_be_bytes(self.port)
    }

    /// Whether a bind to it can be a bind to an internet port. `AF_UNSPEC` is accepted for IPv4,
    /// `__inet_bind` in `net/ipv4/af_inet.c`.
    #[inline(always)]
    pub(crate) fn is_internet(&self) -> bool {
        const AF_UNSPEC: u16 = 0;
        matches!(self.family, AF_UNSPEC | sock::AF_INET | sock::AF_INET6)
    }
}

/// A bind between its entry and its return.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct BindInFlight {
    /// The caller's sockaddr: in user memory for a syscall, in kernel memory below it.
    pub(crate) sockaddr: u64,
    /// `struct sock` of the socket, 0 if unknown.
    pub(crate) sk: u64,
    /// The requested address, once `request_known` is 1.
    pub(crate) request: Sockaddr,
    pub(crate) request_known: u8,
    /// 1 once the cgroup hook saw the bind succeed.
    pub(crate) succeeded: u8,
    pub(crate) reserved: [u8; 6],
}

/// A bind that names its port.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct NamedBind {
    /// `struct sock` of the socket.
    pub(crate) sk: u64,
    /// The port, in the word's lower half.
    pub(crate) port: u64,
}
