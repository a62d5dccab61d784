//! With which header the packets of an interface begin.

use bytemuck::{Pod, Zeroable};

use super::frame::Layer;
use crate::sockets::netlink_dump::{self, beginning};

/// `RTM_GETLINK`, `include/uapi/linux/rtnetlink.h`.
const RTM_GETLINK: u16 = 18;

/// `include/uapi/linux/if_arp.h`.
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;

/// `struct ifinfomsg`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Link {
    family: u8,
    padding: u8,
    kind: u16,
    index: u32,
    flags: u32,
    change: u32,
}

/// The layer of the packets of an interface of the calling thread's namespace; that of Ethernet for
/// every interface (0) and for one that is gone.
pub(super) fn layer(interface: u32) -> Layer {
    if interface == 0 {
        return Layer::Link;
    }
    let mut layer = Layer::Link;
    let request = netlink_dump::request(RTM_GETLINK, bytemuck::bytes_of(&Link::zeroed()), &[]);
    let found = netlink_dump::dump(None, &request, |body| {
        let link = beginning::<Link>(body).filter(|link| link.index == interface);
        if link.is_some_and(|link| !matches!(link.kind, ARPHRD_ETHER | ARPHRD_LOOPBACK)) {
            layer = Layer::Network;
        }
        Ok(())
    });
    if let Err(error) = found {
        tracing::debug!(%error, "the type of an interface stays unknown");
    }
    layer
}
