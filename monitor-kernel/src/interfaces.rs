//! The interfaces of this network namespace, and changes of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use futures_channel::mpsc::UnboundedReceiver;
use futures_util::{StreamExt as _, TryStreamExt as _};
use rtnetlink::{
    Handle, LinkUnspec, MulticastGroup, new_multicast_connection,
    packet_core::NetlinkMessage,
    packet_route::{
        RouteNetlinkMessage,
        link::{InfoKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage, LinkXdp},
        tc::{TcHandle, TcMessage},
    },
    sys::SocketAddr,
};

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Index; a renamed interface keeps it.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Maximum transmission unit, bytes.
    pub mtu: u32,
    /// Kind of its packets.
    pub link: Link,
}

/// Kind of an interface's packets, which attaching depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Packets start with an Ethernet header.
    Ethernet,
    /// One end of a pair; native XDP is given the peer's super-packets, unless it declines them.
    Veth,
    /// A tap device, which hands over super-packets of its owner.
    Tap,
    /// A bond, which hands a program in its driver on to its ports.
    Bond,
    /// Packets start with an IP header: tun, WireGuard, tunnels.
    Ip,
    /// Neither, as of InfiniBand or a radio.
    Other,
}

/// The netlink connection.
#[derive(Debug)]
pub struct Interfaces {
    handle: Handle,
    news: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
}

impl Interfaces {
    /// Connects to netlink and subscribes to changes of links.
    pub fn connect() -> io::Result<Self> {
        let (connection, handle, news) = new_multicast_connection(&[MulticastGroup::Link])?;
        tokio::spawn(connection);
        Ok(Self { handle, news })
    }

    /// All interfaces, by index.
    pub async fn list(&self) -> Result<BTreeMap<u32, Interface>, rtnetlink::Error> {
        let links = self.handle.link().get().execute();
        let interfaces = links.try_filter_map(|message| async move { Ok(interface(&message)) });
        interfaces.map_ok(|interface| (interface.index, interface)).try_collect().await
    }

    /// Indices of the interfaces that have an XDP program, in the driver or in the stack.
    pub async fn with_xdp(&self) -> Result<BTreeSet<u32>, rtnetlink::Error> {
        let links = self.handle.link().get().execute();
        let has_program = |message: &LinkMessage| {
            message.attributes.iter().any(|attribute| match attribute {
                LinkAttribute::Xdp(xdp) => {
                    xdp.iter().any(|each| matches!(each, LinkXdp::ProgId(id) if *id != 0))
                }
                _ => false,
            })
        };
        let found = links.try_filter_map(|message| async move {
            Ok(has_program(&message).then_some(message.header.index))
        });
        found.try_collect().await
    }

    /// Waits for a change, of any kind: the caller lists all interfaces again, which is right even if
    /// a message was lost. `None` when netlink has closed the connection.
    pub async fn changed(&mut self) -> Option<()> {
        self.news.next().await?;
        while self.news.try_recv().is_ok() {}
        Some(())
    }

    /// Sets an interface up.
    pub async fn set_up(&self, ifindex: u32) -> Result<(), rtnetlink::Error> {
        let up = LinkUnspec::new_with_index(ifindex).up().build();
        self.handle.link().set(up).execute().await
    }

    /// Removes an interface's clsact qdisc, unless it has filters, which another program may have
    /// added. An interface that is gone has taken its qdisc with it.
    pub async fn remove_empty_clsact(&self, ifindex: u32) {
        if let Err(error) = remove_empty_clsact(&self.handle, ifindex).await {
            tracing::debug!(%error, ifindex, "no clsact qdisc to remove");
        }
    }
}

fn interface(message: &LinkMessage) -> Option<Interface> {
    let mut name = None;
    let mut mtu = 0;
    let mut kind = None;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(value) => name = Some(value.clone()),
            LinkAttribute::Mtu(value) => mtu = *value,
            LinkAttribute::LinkInfo(infos) => kind = infos.iter().find_map(kind_of),
            _ => {}
        }
    }
    let link = match (message.header.link_layer_type, kind) {
        (LinkLayerType::Ether, Some(InfoKind::Veth)) => Link::Veth,
        (LinkLayerType::Ether, Some(InfoKind::Tun)) => Link::Tap,
        (LinkLayerType::Ether, Some(InfoKind::Bond)) => Link::Bond,
        (LinkLayerType::Ether | LinkLayerType::Loopback, _) => Link::Ethernet,
        (
            LinkLayerType::None
            | LinkLayerType::Rawip
            | LinkLayerType::Ppp
            | LinkLayerType::Tunnel
            | LinkLayerType::Tunnel6
            | LinkLayerType::Sit
            | LinkLayerType::Ipgre
            | LinkLayerType::Ip6gre,
            _,
        ) => Link::Ip,
        _ => Link::Other,
    };
    Some(Interface { index: message.header.index, name: name?, mtu, link })
}

fn kind_of(info: &LinkInfo) -> Option<InfoKind> {
    match info {
        LinkInfo::Kind(kind) => Some(kind.clone()),
        _ => None,
    }
}

async fn remove_empty_clsact(handle: &Handle, ifindex: u32) -> Result<(), rtnetlink::Error> {
    let index = ifindex as i32;
    for egress in [false, true] {
        let filters = handle.traffic_filter(index).get();
        let filters = if egress { filters.egress() } else { filters.ingress() };
        let found: Vec<TcMessage> = filters.execute().try_collect().await?;
        if !found.is_empty() {
            return Ok(());
        }
    }
    let mut request = handle.qdisc().del(index);
    let header = &mut request.message_mut().header;
    header.handle = TcHandle { major: 0xffff, minor: 0 };
    header.parent = TcHandle { major: 0xffff, minor: 0xfff1 };
    request.execute().await
}
