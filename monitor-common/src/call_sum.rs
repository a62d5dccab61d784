//! Sums of socket calls that were not sent one by one.

use crate::socket_event::{BindResult, SocketEvent, SocketEventKind};

/// What is summed up: the calls of one process, or of one user, on one port, with one result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct SumKey {
    /// When: userspace takes the sums of a generation after it has begun the next one.
    pub generation: u32,
    /// Process id; of the sums by user, the real user id.
    pub owner: u32,
    /// Local port, host byte order; 0 of [`Self::listener_call`].
    pub port: u16,
    /// Transport protocol, as in [`SocketEvent::protocol`].
    pub protocol: u8,
    /// Kind of call in the lower half, [`BindResult`] in the upper.
    pub call: u8,
}
const _: () = assert!(size_of::<SumKey>() == 12);

impl SumKey {
    /// The upper half of `call` is that of the error number, 0 for none.
    #[inline(always)]
    pub const fn call(kind: SocketEventKind, errno: u32) -> u8 {
        kind as u8 | (BindResult::from_errno(errno) as u8) << 4
    }

    /// `call` of a record for the sake of listeners alone. Its sums are of all ports together: a program
    /// that opens listeners on many ports has one.
    #[inline(always)]
    pub const fn listener_call(kind: SocketEventKind) -> u8 {
        kind as u8 | 0x80
    }
}

/// Calls alike.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct CallSum {
    /// The first of them, without a command line. Of the sums by user it has no process.
    pub event: SocketEvent,
    /// How many there were.
    pub count: u64,
    /// Time of the last one, as [`SocketEvent::time_ns`].
    pub last_ns: u64,
}
const _: () = assert!(size_of::<CallSum>() == 176);

impl CallSum {
    /// No call.
    pub const NOTHING: Self = Self { event: SocketEvent::NOTHING, count: 0, last_ns: 0 };
}
