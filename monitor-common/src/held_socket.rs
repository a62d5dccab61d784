//! Open sockets on watched ports, and listeners, as the iterator over all open files reports them.

/// A process that has a socket open. A socket that several processes have, or one process several
/// times, is reported as often.
///
/// Every field but the interface was read: a record that would lack one is not written, and counted as
/// [`StructUnreadable`](crate::errors::KernelError::StructUnreadable).
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct HeldSocket {
    /// When the process was made, `CLOCK_BOOTTIME`, nanoseconds.
    pub start_time_ns: u64,
    /// Thread group, in the initial pid namespace.
    pub tgid: u32,
    /// Inode of the socket, as in `/proc/PID/fd`.
    pub socket_inode: u32,
    /// Inode of its network namespace, as in `/proc/PID/ns/net`.
    pub netns_inode: u32,
    /// Local port, host byte order.
    pub local_port: u16,
    /// Port of the other end, host byte order; 0 while there is none.
    pub peer_port: u16,
    /// Local address; an IPv4 address is in the first four bytes.
    pub local_address: [u8; 16],
    /// Address of the other end, likewise.
    pub peer_address: [u8; 16],
    /// Transport protocol: 6, 17, 132 or 136.
    pub protocol: u8,
    /// Address family: 4 or 6.
    pub family: u8,
    /// `sk_state`, which says something of TCP alone (`include/net/tcp_states.h`).
    pub state: u8,
    /// Bits of [`flags`].
    pub flags: u8,
    /// Index of the interface that it is bound to, 0 for none.
    pub interface: u32,
}
const _: () = assert!(size_of::<HeldSocket>() == 64);

/// Bits of [`HeldSocket::flags`].
pub mod flags {
    /// A bind named the port.
    pub const NAMED_PORT: u8 = 1 << 0;
    /// The IPv6 socket does not accept IPv4.
    pub const V6_ONLY: u8 = 1 << 1;
}
