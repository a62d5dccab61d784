//! With which header the packets of an interface begin.

use super::frame::Layer;
use crate::sockets::links;

/// `include/uapi/linux/if_arp.h`.
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;

/// The layer of the packets of an interface of the calling thread's namespace; that of Ethernet for
/// every interface (0) and for one that is gone.
pub(super) fn layer(interface: u32) -> Layer {
    if interface == 0 {
        return Layer::Link;
    }
    let mut layer = Layer::Link;
    let found = links::list(|link, _| {
        if link.index == interface && !matches!(link.kind, ARPHRD_ETHER | ARPHRD_LOOPBACK) {
            layer = Layer::Network;
        }
    });
    if let Err(error) = found {
        tracing::debug!(%error, "the type of an interface stays unknown");
    }
    layer
}
