//! The interfaces of this network namespace, and changes of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::RangeInclusive,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytemuck::{Pod, Zeroable};

pub use crate::link_kind::Link;
use crate::{
    interface_name, link_kind,
    netlink::{Attributes, Socket, append_attribute, beginning, request},
    network_changes::NetworkChanges,
    tc,
};

/// Message types, `include/uapi/linux/rtnetlink.h`.
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;

/// Attributes of a link, `include/uapi/linux/if_link.h`.
const NAME: u16 = 3;
const MTU: u16 = 4;
const LOWER: u16 = 5;
const MASTER: u16 = 10;
const INFO: u16 = 18;
const STATISTICS: u16 = 23;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const EXTENT: u16 = 29;
const LOWER_NETNS: u16 = 37;
const XDP: u16 = 43;
const VRF_TABLE: u16 = 1;

/// `IFLA_XDP_PROG_ID` to `IFLA_XDP_HW_PROG_ID`: with programs at several places the first is absent.
const XDP_PROGRAMS: RangeInclusive<u16> = 4..=7;

/// `RTEXT_FILTER_SKIP_STATS`.
const WITHOUT_STATISTICS: u32 = 1 << 3;

/// `IFF_UP`.
const UP: u32 = 1;

/// `struct ifinfomsg`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Head {
    family: u8,
    padding: u8,
    /// `ARPHRD_…`: what packets begin with.
    hardware: u16,
    index: u32,
    flags: u32,
    change: u32,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Index; a renamed interface keeps it.
    pub index: u32,
    /// Name, as [`interface_name::text`] writes it.
    pub name: String,
    /// Maximum transmission unit, bytes.
    pub mtu: u32,
    /// What its packets begin with, and what else attaching depends on.
    pub link: Link,
    /// What it is, in the kernel's word (`veth`, `bridge`, `vlan`) with `tap` for a tap device; `None`
    /// for hardware and the loopback interface.
    pub kind: Option<String>,
    /// Index of the bridge, bond, team or VRF that it is a member of.
    pub master: Option<u32>,
    /// Index of the interface that it is stacked on, if that is in this network namespace.
    pub lower: Option<u32>,
    /// Ids of its XDP programs: in the stack, in the driver or in the hardware.
    pub xdp_programs: BTreeSet<u32>,
}

impl Interface {
    /// An interface that is neither stacked nor a member of another.
    pub fn new(index: u32, name: &str, mtu: u32, link: Link) -> Self {
        let name = name.to_owned();
        let xdp_programs = BTreeSet::new();
        Self { index, name, mtu, link, kind: None, master: None, lower: None, xdp_programs }
    }

    fn read(message: &[u8]) -> Option<Self> {
        let head: Head = beginning(message)?;
        let attributes = Attributes::behind(message, size_of::<Head>());
        let info = attributes.nested(INFO);
        let kind = info.and_then(|info| info.text(INFO_KIND));
        let data = info.and_then(|info| info.nested(INFO_DATA));
        let kind = link_kind::name(kind, data, head.hardware);
        let lower = attributes.u32(LOWER).filter(|lower| ![0, head.index].contains(lower));
        Some(Self {
            index: head.index,
            name: interface_name::text(attributes.bytes(NAME)?),
            mtu: attributes.u32(MTU).unwrap_or(0),
            link: link_kind::link(head.hardware, kind),
            kind: kind.map(str::to_owned),
            master: attributes.u32(MASTER).filter(|master| *master != 0),
            lower: lower.filter(|_| attributes.get(LOWER_NETNS).is_none()),
            xdp_programs: xdp_programs(attributes),
        })
    }
}

fn xdp_programs(link: Attributes<'_>) -> BTreeSet<u32> {
    let attributes = link.nested(XDP).into_iter().flatten();
    let programs = attributes.filter(|(kind, _)| XDP_PROGRAMS.contains(kind));
    programs.filter_map(|(_, id)| beginning::<u32>(id)).filter(|id| *id != 0).collect()
}

/// The interfaces of the calling thread's network namespace, by index.
///
/// # Errors
/// The kernel grants no netlink socket, or does not answer.
pub fn here() -> io::Result<BTreeMap<u32, Interface>> {
    list(&mut Socket::open(None)?)
}

fn list(requests: &mut Socket) -> io::Result<BTreeMap<u32, Interface>> {
    let mut found = BTreeMap::new();
    requests.ask(&list_request(), |message| {
        found.extend(Interface::read(message).map(|interface| (interface.index, interface)));
        Ok(())
    })?;
    Ok(found)
}

/// Packets that an interface received and sent since it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PacketCounts {
    /// `rx_packets` of `struct rtnl_link_stats64`.
    pub received: u64,
    /// `tx_packets`.
    pub sent: u64,
}

impl PacketCounts {
    /// Those since `before`.
    pub const fn since(self, before: Self) -> Self {
        Self {
            received: self.received.saturating_sub(before.received),
            sent: self.sent.saturating_sub(before.sent),
        }
    }
}

/// The netlink connection.
#[derive(Debug)]
pub struct Interfaces {
    requests: Mutex<Socket>,
    changes: NetworkChanges,
}

impl Interfaces {
    /// Connects to netlink and subscribes to changes of links, and of the filters on them. Takes a
    /// runtime.
    ///
    /// # Errors
    /// The kernel grants no netlink socket.
    pub fn connect() -> io::Result<Self> {
        let requests = Mutex::new(Socket::open(None)?);
        Ok(Self { requests, changes: NetworkChanges::subscribe()? })
    }

    /// All interfaces, by index.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn list(&self) -> io::Result<BTreeMap<u32, Interface>> {
        list(&mut self.requests())
    }

    /// Packets of every interface, by index, as the kernel counts them.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn packets(&self) -> io::Result<BTreeMap<u32, PacketCounts>> {
        let mut found = BTreeMap::new();
        let request = request(GET_LINK, bytemuck::bytes_of(&Head::zeroed()), &[]);
        self.requests().ask(&request, |message| {
            let head: Option<Head> = beginning(message);
            let statistics = Attributes::behind(message, size_of::<Head>()).get(STATISTICS);
            let counts: Option<PacketCounts> = statistics.and_then(beginning);
            found.extend(head.zip(counts).map(|(head, counts)| (head.index, counts)));
            Ok(())
        })?;
        Ok(found)
    }

    /// Waits for a change, of any kind: the caller lists all interfaces again, which is right even if
    /// a message was lost. Cancel-safe.
    ///
    /// # Errors
    /// The connection is broken.
    pub async fn changed(&mut self) -> io::Result<()> {
        self.changes.next().await
    }

    /// Sets an interface up.
    ///
    /// # Errors
    /// The kernel refuses it, or there is no such interface.
    pub fn set_up(&self, index: u32) -> io::Result<()> {
        let head = Head { index, flags: UP, change: UP, ..Head::zeroed() };
        self.requests().order(NEW_LINK, 0, bytemuck::bytes_of(&head), &[])
    }

    /// Removes an interface's clsact qdisc, unless it has filters, which another program may have
    /// added. An interface that is gone has taken its qdisc with it.
    pub fn remove_empty_clsact(&self, ifindex: u32) {
        if let Err(error) = tc::remove_empty_clsact(&mut self.requests(), ifindex) {
            tracing::debug!(%error, ifindex, "no clsact qdisc to remove");
        }
    }

    fn requests(&self) -> MutexGuard<'_, Socket> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The routing tables of the VRF devices of this thread's network namespace.
pub(crate) fn vrf_tables() -> io::Result<Vec<u32>> {
    let mut tables = Vec::new();
    Socket::open(None)?.ask(&list_request(), |message| {
        let info = Attributes::behind(message, size_of::<Head>()).nested(INFO);
        let vrf = info.filter(|info| info.text(INFO_KIND) == Some("vrf"));
        tables.extend(vrf.and_then(|info| info.nested(INFO_DATA)?.u32(VRF_TABLE)));
        Ok(())
    })?;
    Ok(tables)
}

fn list_request() -> Vec<u8> {
    let mut attributes = Vec::new();
    append_attribute(&mut attributes, EXTENT, &WITHOUT_STATISTICS.to_ne_bytes());
    request(GET_LINK, bytemuck::bytes_of(&Head::zeroed()), &attributes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::attribute;

    fn message(index: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let head = Head { index, hardware: 1, ..Head::zeroed() };
        let mut all = Vec::new();
        for (kind, value) in attributes {
            append_attribute(&mut all, *kind, value);
        }
        [bytemuck::bytes_of(&head), &all].concat()
    }

    #[test]
    fn reads_what_an_interface_is_and_what_it_is_stacked_on() {
        let info = attribute(INFO_KIND, b"vlan\0");
        let vlan = message(
            7,
            &[
                (NAME, b"eth0.5\0"),
                (MTU, &1500u32.to_ne_bytes()),
                (LOWER, &2u32.to_ne_bytes()),
                (MASTER, &9u32.to_ne_bytes()),
                (INFO, &info),
            ],
        );
        let read = Interface::read(&vlan).expect("an interface");
        let expected = Interface {
            kind: Some("vlan".to_owned()),
            lower: Some(2),
            master: Some(9),
            ..Interface::new(7, "eth0.5", 1500, Link::Ethernet)
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn an_index_of_another_namespace_is_not_below() {
        let info = attribute(INFO_KIND, b"veth\0");
        let netns = 0u32.to_ne_bytes();
        let lower = 2u32.to_ne_bytes();
        let veth = message(
            7,
            &[(NAME, b"v\xff\0"), (LOWER, &lower), (LOWER_NETNS, &netns), (INFO, &info)],
        );
        let read = Interface::read(&veth).expect("an interface");
        assert_eq!((read.lower, &*read.name, read.link), (None, r"v\xff", Link::Veth));
    }

    #[test]
    fn finds_the_programs_at_every_place() {
        let program = |kind, id: u32| attribute(kind, &id.to_ne_bytes());
        let ids = |nested: &[u8]| {
            let read = Interface::read(&message(7, &[(NAME, b"eth0\0"), (XDP, nested)]));
            read.expect("an interface").xdp_programs.into_iter().collect::<Vec<_>>()
        };
        // Of a driver: the id is there twice, behind the mode.
        let mode = [&attribute(2, &[1])[..], &[0; 3]].concat();
        let driver = [mode, program(4, 7), program(5, 7)].concat();
        assert_eq!(ids(&driver), [7]);
        assert_eq!(ids(&[program(5, 7), program(7, 9)].concat()), [7, 9]);
        assert_eq!(ids(&program(4, 0)), [0; 0]);
    }

    #[tokio::test]
    async fn lists_the_loopback_interface() {
        let list = Interfaces::connect().expect("netlink").list().expect("interfaces");
        let loopback = list.values().find(|interface| interface.name == "lo").expect("lo");
        assert_eq!((loopback.index, &loopback.kind, loopback.lower), (1, &None, None));
    }
}
