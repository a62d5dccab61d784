//! Counters of protocols that few hosts have: UDP-Lite and SCTP.
//!
//! They are created with the first packet or socket call, so that the others pay nothing for them.
//! All CPUs share them and add atomically.

use crate::{
    flow::{Direction, Protocol, Side, Traffic},
    socket_event::BindResult,
};

/// What is counted separately: an interface, a watched port and a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct RareKey {
    /// Index of the interface; 0 for the socket calls of the port.
    pub interface: u32,
    /// The watched port, host byte order.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    reserved: u8,
}
const _: () = assert!(size_of::<RareKey>() == 8);

impl RareKey {
    /// Of the packets of `port` on an interface.
    #[inline(always)]
    pub const fn of_packets(interface: u32, port: u16, protocol: Protocol) -> Self {
        Self { interface, port, protocol: protocol.ip_number(), reserved: 0 }
    }

    /// Of the socket calls of `port`.
    #[inline(always)]
    pub const fn of_calls(port: u16, protocol: Protocol) -> Self {
        Self { interface: 0, port, protocol: protocol.ip_number(), reserved: 0 }
    }
}

/// Everything counted for a [`RareKey::of_packets`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct RareCounters {
    /// By direction and side.
    pub traffic: [[Traffic; 3]; 2],
    /// SCTP packets that start with INIT ACK and left from the port at an address of this host.
    pub accepted: u64,
    /// Flows to the port at a peer that this host began: SCTP packets that start with INIT, and the
    /// first datagrams of UDP-Lite flows.
    pub begun: u64,
}
const _: () = assert!(size_of::<RareCounters>() == 112);

impl RareCounters {
    /// Nothing counted.
    pub const ZERO: Self =
        Self { traffic: [[Traffic { packets: 0, bytes: 0 }; 3]; 2], accepted: 0, begun: 0 };

    /// Packets and bytes of one (direction, side).
    pub const fn traffic(&self, direction: Direction, side: Side) -> Traffic {
        self.traffic[direction as usize][side as usize]
    }
}

/// Everything counted for a [`RareKey::of_calls`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct RareSocketCounters {
    /// Binds by result.
    pub binds: [u64; BindResult::COUNT],
    /// Transitions of an SCTP socket to the listening state.
    pub listens: u64,
    /// Closed sockets that held the port.
    pub closes: u64,
}
const _: () = assert!(size_of::<RareSocketCounters>() == 48);

impl RareSocketCounters {
    /// Nothing counted.
    pub const ZERO: Self = Self { binds: [0; BindResult::COUNT], listens: 0, closes: 0 };
}

/// Types of SCTP chunks, RFC 9260 §3.2.
pub mod chunk {
    /// Begins an association.
    pub const INIT: u8 = 1;
    /// Accepts one.
    pub const INIT_ACK: u8 = 2;
}

/// Length of SCTP's common header, RFC 9260 §3.1; the first chunk follows.
pub const SCTP_HEADER_LEN: u32 = 12;
