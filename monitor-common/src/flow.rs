//! How traffic on a watched port is distinguished and counted.
//!
//! Every interface has one array of slots. Slot 0 of each CPU holds the
//! interface's [`UnclassifiedCounters`]; slot *n* the [`PortCounters`] of the port whose index in
//! [`crate::ports::PortIndex`] is *n*.

use crate::unclassified::Unclassified;

/// Index of the loopback device in every network namespace
/// (`LOOPBACK_IFINDEX` of `include/net/flow.h`, `loopback_net_init` in `drivers/net/loopback.c`).
pub const LOOPBACK: u32 = 1;

/// Transport protocol of a classified packet or socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Protocol {
    /// Transmission Control Protocol, RFC 9293.
    Tcp = 0,
    /// User Datagram Protocol, RFC 768.
    Udp = 1,
    /// UDP-Lite, RFC 3828.
    UdpLite = 2,
    /// Stream Control Transmission Protocol, RFC 9260.
    Sctp = 3,
}

/// Which way a packet crossed the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Direction {
    /// From the interface into the host.
    Ingress = 0,
    /// From the host out of the interface.
    Egress = 1,
}

/// Which end of a packet is this host's, by its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Orientation {
    /// The destination on ingress, the source on egress. Also of a packet between two addresses of
    /// this host, and of every packet while the addresses are not known.
    Usual = 0,
    /// The source on ingress, the destination on egress: a packet of this host that comes back, or
    /// one for this host that leaves on another interface first.
    Reversed = 1,
    /// Neither.
    Transit = 2,
}

/// Whose end of the packet the watched port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Side {
    /// This host's: the port belongs to an address of this host.
    Local = 0,
    /// The peer's: the port belongs to another address, and the other end is this host.
    Remote = 1,
    /// Neither's: this host passes the packet on.
    Transit = 2,
}

impl Protocol {
    /// Number of protocols.
    pub const COUNT: usize = 4;

    /// Every protocol, in the order of its index.
    pub const ALL: [Self; Self::COUNT] = [Self::Tcp, Self::Udp, Self::UdpLite, Self::Sctp];

    /// The protocols of nearly all packets: they have counters in every slot.
    pub const COMMON: [Self; 2] = [Self::Tcp, Self::Udp];

    /// The others: their counters are created with their first packet or socket call.
    pub const RARE: [Self; 2] = [Self::UdpLite, Self::Sctp];

    /// Whether it is one of [`Protocol::RARE`].
    #[inline(always)]
    pub const fn is_rare(self) -> bool {
        matches!(self, Self::UdpLite | Self::Sctp)
    }

    /// Whether a socket of it takes packets from any peer as soon as it is bound.
    pub const fn is_datagram(self) -> bool {
        matches!(self, Self::Udp | Self::UdpLite)
    }

    /// Name in metrics and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::UdpLite => "udplite",
            Self::Sctp => "sctp",
        }
    }

    /// Number in the IANA protocol registry.
    #[inline(always)]
    pub const fn ip_number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::UdpLite => 136,
            Self::Sctp => 132,
        }
    }

    /// From a number of the IANA protocol registry, as `iphdr.protocol` and `sk_protocol` carry it.
    #[inline(always)]
    pub const fn from_ip_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            136 => Some(Self::UdpLite),
            132 => Some(Self::Sctp),
            _ => None,
        }
    }

    /// The same for the protocols of [`Protocol::COMMON`] alone.
    #[inline(always)]
    pub const fn common_from_ip_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }
}

impl Direction {
    /// Both directions, in the order of their index.
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];

    /// Name in metrics and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

impl Orientation {
    /// Every orientation, in the order of its index.
    pub const ALL: [Self; 3] = [Self::Usual, Self::Reversed, Self::Transit];

    /// Side of the source port of a packet that crosses the interface this way.
    #[inline(always)]
    pub const fn side_of_source(self, direction: Direction) -> Side {
        match (self, direction) {
            (Self::Transit, _) => Side::Transit,
            (Self::Usual, Direction::Egress) | (Self::Reversed, Direction::Ingress) => Side::Local,
            (Self::Usual, Direction::Ingress) | (Self::Reversed, Direction::Egress) => Side::Remote,
        }
    }

    /// Side of its destination port.
    #[inline(always)]
    pub const fn side_of_destination(self, direction: Direction) -> Side {
        match self.side_of_source(direction) {
            Side::Local => Side::Remote,
            Side::Remote => Side::Local,
            Side::Transit => Side::Transit,
        }
    }
}

impl Side {
    /// The sides, in the order of their index.
    pub const ALL: [Self; 3] = [Self::Local, Self::Remote, Self::Transit];

    /// Name in metrics and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
            Self::Transit => "transit",
        }
    }
}

/// Packets and bytes of one (protocol, direction, side).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Traffic {
    /// Packets as they were on the wire: a GRO or TSO super-packet counts as its segments.
    pub packets: u64,
    /// Ethernet frame bytes without the frame check sequence.
    pub bytes: u64,
}

/// Everything counted for one port on one interface by one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct PortCounters {
    /// By protocol, of [`Protocol::COMMON`], direction and side.
    pub traffic: [[[Traffic; 3]; 2]; 2],
    /// TCP segments with SYN and without ACK, by direction and side.
    pub connection_attempts: [[u64; 3]; 2],
    /// TCP segments with SYN and ACK that left from the port at an address of this host: connections
    /// that were accepted, and repetitions of the answer.
    pub accepted: u64,
    /// UDP flows to the port at a peer that a datagram of this host began.
    pub begun_datagrams: u64,
}

/// Packets of one interface that could not be attributed to a port, counted by one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct UnclassifiedCounters {
    /// By direction and cause.
    pub packets: [[u64; Unclassified::COUNT]; 2],
    reserved: [u64; 32 - 2 * Unclassified::COUNT],
}

impl PortCounters {
    /// Packets and bytes of one (protocol, direction, side). Those of a rare protocol are counted in
    /// [`RareCounters`](crate::rare::RareCounters), and are 0 here.
    pub const fn traffic(&self, protocol: Protocol, direction: Direction, side: Side) -> Traffic {
        if protocol.is_rare() {
            return Traffic { packets: 0, bytes: 0 };
        }
        self.traffic[protocol as usize][direction as usize][side as usize]
    }
}

impl UnclassifiedCounters {
    /// Packets of one (direction, cause).
    pub const fn packets(&self, direction: Direction, cause: Unclassified) -> u64 {
        self.packets[direction as usize][cause as usize]
    }
}

/// Size of a slot, whichever record it holds.
pub const SLOT_SIZE: usize = 256;
const _: () = assert!(size_of::<PortCounters>() == SLOT_SIZE);
const _: () = assert!(size_of::<UnclassifiedCounters>() == SLOT_SIZE);

/// Index of the slot of `port_index` on `cpu` in an interface's array.
///
/// A slot is four whole cache lines, which one CPU alone writes: no line is shared between CPUs.
#[inline(always)]
pub const fn slot_index(port_index: u32, cpu: u32, cpus: u32) -> u32 {
    port_index * cpus + cpu
}

/// Slots of an array that serves port indices below `port_indices` on `cpus` CPUs.
pub const fn slot_count(port_indices: u32, cpus: u32) -> u32 {
    port_indices * cpus
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_end_is_local_if_the_other_is_remote() {
        for (orientation, direction) in
            Orientation::ALL.into_iter().flat_map(|each| Direction::ALL.map(|way| (each, way)))
        {
            let sides =
                [orientation.side_of_source(direction), orientation.side_of_destination(direction)];
            match (orientation, direction) {
                (Orientation::Transit, _) => assert_eq!(sides, [Side::Transit; 2]),
                (Orientation::Usual, Direction::Ingress)
                | (Orientation::Reversed, Direction::Egress) => {
                    assert_eq!(sides, [Side::Remote, Side::Local]);
                }
                _ => assert_eq!(sides, [Side::Local, Side::Remote]),
            }
        }
    }

    #[test]
    fn protocols_have_the_numbers_of_the_registry() {
        for (index, protocol) in Protocol::ALL.into_iter().enumerate() {
            assert_eq!(protocol as usize, index);
            assert_eq!(Protocol::from_ip_number(protocol.ip_number()), Some(protocol));
            let common = Protocol::common_from_ip_number(protocol.ip_number());
            assert_eq!(common.is_none(), protocol.is_rare());
        }
        assert_eq!([Protocol::COMMON, Protocol::RARE].concat(), Protocol::ALL);
        assert_eq!(Protocol::from_ip_number(1), None);
    }

    #[test]
    fn slots_are_a_permutation() {
        for cpus in [1, 2, 3, 16] {
            for indices in [2, 6, 7, 100] {
                let slots: HashSet<u32> = (0..indices)
                    .flat_map(|port| (0..cpus).map(move |cpu| slot_index(port, cpu, cpus)))
                    .collect();
                assert_eq!(slots.len() as u32, indices * cpus);
                assert!(slots.iter().all(|slot| *slot < slot_count(indices, cpus)));
            }
        }
    }
}
