//! Whom a connection counts for: connections, and wrong passwords, are limited for each.

use std::net::{IpAddr, Ipv6Addr};

use super::administrator::TcpEnds;
use crate::sockets::owner_of;

/// Whom a connection counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Client {
    /// A user of this host: every loopback address is at each user's disposal.
    User(u32),
    /// An IPv4 address, or an IPv6 network of 64 bits, all of which one host may have.
    Address(IpAddr),
}

impl Client {
    /// The client at the other end of a TCP connection: the user where the kernel says who that is.
    pub(super) fn of_tcp(ends: TcpEnds) -> Self {
        let there = ends.there.ip().to_canonical();
        let is_of_this_host = there.is_loopback() || there == ends.here.ip().to_canonical();
        let owner = is_of_this_host.then(|| owner_of(ends.there, ends.here).ok().flatten());
        match owner.flatten() {
            Some(owner) => Self::User(owner.user),
            None => Self::of_address(there),
        }
    }

    fn of_address(address: IpAddr) -> Self {
        const HOST_BITS: u32 = 64;
        Self::Address(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => {
                Ipv6Addr::from_bits(address.to_bits() >> HOST_BITS << HOST_BITS).into()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_are_one_client() {
        let of = |text: &str| Client::of_address(text.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:0:0:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
