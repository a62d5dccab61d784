//! Interfaces that sockets are bound to.

use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};

/// Name of an interface of this network namespace; `None` if it has none of this index any more.
pub fn name(index: u32) -> Option<String> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None).ok()?;
    netdevice::index_to_name(socket, index).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_the_first() {
        assert_eq!(name(1).as_deref(), Some("lo"));
        assert_eq!(name(u32::MAX), None);
    }
}
