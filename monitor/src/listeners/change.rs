//! Listeners that are opened and closed, as the kernel side reports them.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
};

use jiff::Timestamp;
use monitor_common::{
    flow::Protocol,
    socket_event::Mechanism,
    socket_record::{Call, ListenerPart, SocketRecord},
};

use crate::{process::Identity, sockets::SocketScope};

/// Listeners that a process opened or closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerChange {
    /// What happened.
    pub turn: ListenerTurn,
    /// Time of day, of the last one.
    pub time: Timestamp,
    /// The same by the kernel side's clock, `CLOCK_BOOTTIME`, nanoseconds.
    pub boottime_ns: u64,
    /// The listener; of several the first one.
    pub listener: ListenerSocket,
    /// How many listeners: more than one if a program opens so many that they are summed up, of all
    /// ports together. A scan of the sockets finds which they are.
    pub count: u64,
    /// The process that made the call. `None` if it is not known, and of a socket of the kernel.
    pub caller: Option<Identity>,
    /// Kind of hook that saw the call.
    pub mechanism: Mechanism,
}

/// What happened to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListenerTurn {
    /// Packets from others arrive from now on.
    Opened,
    /// They no longer do.
    Closed,
}

/// A listener, and what distinguishes it from others on its port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenerSocket {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Local address; `None` if it could not be read.
    pub address: Option<IpAddr>,
    /// Local port.
    pub port: u16,
    /// Index of the interface that it is bound to, in its namespace.
    pub interface: Option<NonZeroU32>,
    /// Whether an IPv6 socket accepts no IPv4; `None` of IPv4, and where it could not be read.
    pub is_v6_only: Option<bool>,
    /// Inode of the network namespace.
    pub netns_inode: Option<u32>,
    /// Whether the kernel made it for itself, as for VXLAN and WireGuard.
    pub is_of_kernel: bool,
}

impl ListenerChange {
    /// From a record of the kernel side; `None` of one that is about no listener. `caller` is what is
    /// known of the process that made the call.
    pub fn new(record: &SocketRecord, time: Timestamp, caller: Option<&Identity>) -> Option<Self> {
        let turn = match (record.listener, record.call) {
            (ListenerPart::None, _) | (_, Call::Bind { errno: Some(_) } | Call::Connect) => {
                return None;
            }
            (_, Call::Bind { errno: None } | Call::Listen) => ListenerTurn::Opened,
            (_, Call::Close) => ListenerTurn::Closed,
        };
        Some(Self {
            turn,
            time,
            boottime_ns: record.last_ns,
            listener: ListenerSocket {
                protocol: record.protocol?,
                address: record.local_address,
                port: record.port,
                interface: record.interface,
                is_v6_only: record.is_v6_only,
                netns_inode: record.netns_inode,
                is_of_kernel: record.is_of_kernel,
            },
            count: record.count,
            caller: caller.cloned(),
            mechanism: record.mechanism,
        })
    }
}

impl ListenerSocket {
    /// Its address and port.
    pub fn local(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.address?, self.port))
    }

    /// From where it can be reached, as far as its address decides: at a loopback address from its host
    /// alone. `None` at any other address, where the interfaces of its namespace decide.
    pub fn scope_of_address(&self) -> Option<SocketScope> {
        self.address.filter(|address| address.to_canonical().is_loopback())?;
        Some(SocketScope::Host)
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;
    use monitor_common::socket_event::{SocketEvent, SocketEventKind, known};

    use super::*;

    fn change(kind: SocketEventKind, errno: u32, known: u32) -> Option<ListenerChange> {
        let event = SocketEvent {
            kind: kind as u8,
            mechanism: Mechanism::Fexit as u8,
            protocol: 17,
            port: 9000,
            family: 4,
            address: [127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            errno,
            known: known | known::FAMILY | known::ADDRESS,
            ..SocketEvent::zeroed()
        };
        let record = SocketRecord::try_from(&event).expect("a record");
        ListenerChange::new(&record, Timestamp::UNIX_EPOCH, None)
    }

    #[test]
    fn a_listener_is_opened_by_bind_or_listen_and_closed() {
        use SocketEventKind::{Bind, Close, Connect, Listen};
        let turn = |kind| change(kind, 0, known::LISTENER).map(|change| change.turn);
        assert_eq!(turn(Bind), Some(ListenerTurn::Opened));
        assert_eq!(turn(Listen), Some(ListenerTurn::Opened));
        assert_eq!(turn(Close), Some(ListenerTurn::Closed));
        assert_eq!(turn(Connect), None);
        assert_eq!(change(Bind, 98, known::LISTENER), None);
        assert_eq!(change(Bind, 0, 0), None);
    }

    #[test]
    fn a_loopback_address_is_reached_from_its_host_alone() {
        let mut listener = change(SocketEventKind::Bind, 0, known::LISTENER).expect("one").listener;
        assert_eq!(listener.local(), Some(([127, 0, 0, 1], 9000).into()));
        assert_eq!(listener.scope_of_address(), Some(SocketScope::Host));
        listener.address = "::ffff:127.0.0.1".parse().ok();
        assert_eq!(listener.scope_of_address(), Some(SocketScope::Host));
        listener.address = "0.0.0.0".parse().ok();
        assert_eq!(listener.scope_of_address(), None);
    }
}
