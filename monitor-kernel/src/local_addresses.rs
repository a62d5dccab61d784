//! The addresses of this host: what its network namespace accepts as its own.
//!
//! The kernel's answer is its routing tables: every address that is configured, secondary,
//! point-to-point, broadcast or anycast, and every `local` route (`local 10.0.0.0/8 dev lo`), has an
//! entry in the table `local`, or in the table of its VRF. Multicast groups that were joined stand in
//! `/proc/net/igmp` and `/proc/net/igmp6`.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use futures_channel::mpsc::UnboundedReceiver;
use futures_util::StreamExt as _;
use rtnetlink::{
    Handle, MulticastGroup, RouteMessageBuilder, new_connection_with_strict_check,
    new_multicast_connection,
    packet_core::NetlinkMessage,
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
    },
    sys::SocketAddr,
};

use crate::interfaces::vrf_tables;

/// `RT_TABLE_LOCAL`, `include/uapi/linux/rtnetlink.h`.
const TABLE_LOCAL: u32 = 255;

/// Multicast groups of IPv4 and IPv6 that were joined on some interface.
const GROUP_FILES: [&str; 2] = ["/proc/thread-self/net/igmp", "/proc/thread-self/net/igmp6"];

/// What this host accepts as its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalAddresses {
    /// Unicast, anycast and broadcast addresses, and multicast groups that were joined.
    pub addresses: BTreeSet<IpAddr>,
    /// Networks that are local as a whole, with the length of their prefix in bits.
    pub networks: BTreeSet<(IpAddr, u8)>,
}

impl LocalAddresses {
    /// Whether an address is one of these.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.addresses.contains(&address)
            || self.networks.iter().any(|(network, length)| is_within(address, *network, *length))
    }

    fn add_route(&mut self, route: &RouteMessage) {
        let Some(destination) = destination(route) else { return };
        let length = route.header.destination_prefix_length;
        let whole = if destination.is_ipv4() { 32 } else { 128 };
        if length == whole {
            self.addresses.insert(destination);
        } else {
            self.networks.insert((destination, length));
        }
    }
}

/// A connection to netlink that reads addresses and hears of their changes.
#[derive(Debug)]
pub struct AddressWatch {
    handle: Handle,
    news: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
}

impl AddressWatch {
    /// Connects to netlink and subscribes to changes of addresses.
    ///
    /// # Errors
    /// The kernel gives no netlink socket.
    pub fn connect() -> io::Result<Self> {
        // A dump that is filtered by table takes a socket that checks requests strictly (Linux 5.0).
        let (connection, handle, _) = new_connection_with_strict_check()?;
        tokio::spawn(connection);
        let groups = [MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (connection, _, news) = new_multicast_connection(&groups)?;
        tokio::spawn(connection);
        Ok(Self { handle, news })
    }

    /// All addresses that are local now.
    ///
    /// # Errors
    /// The kernel does not answer, or `/proc` does not list multicast groups.
    pub async fn read(&self) -> Result<LocalAddresses, ReadError> {
        let mut local = LocalAddresses::default();
        // Accepted on every interface (RFC 919 section 7), and in no table.
        local.addresses.insert(Ipv4Addr::BROADCAST.into());
        let tables = [TABLE_LOCAL].into_iter().chain(vrf_tables().map_err(ReadError::Tables)?);
        for table in tables {
            for family in [AddressFamily::Inet, AddressFamily::Inet6] {
                self.read_table(family, table, &mut local).await?;
            }
        }
        for file in GROUP_FILES {
            local.addresses.extend(groups(file)?);
        }
        Ok(local)
    }

    /// Waits for a change. `None` when netlink has closed the connection.
    pub async fn changed(&mut self) -> Option<()> {
        self.news.next().await?;
        while self.news.try_recv().is_ok() {}
        Some(())
    }

    async fn read_table(
        &self,
        family: AddressFamily,
        table: u32,
        local: &mut LocalAddresses,
    ) -> Result<(), rtnetlink::Error> {
        let mut request = match family {
            AddressFamily::Inet => RouteMessageBuilder::<Ipv4Addr>::new().build(),
            _ => RouteMessageBuilder::<Ipv6Addr>::new().build(),
        };
        // A dump is filtered by what is not zero.
        request.header = Default::default();
        request.header.address_family = family;
        request.attributes = vec![RouteAttribute::Table(table)];
        let mut routes = self.handle.route().get(request).execute().boxed();
        while let Some(route) = routes.next().await {
            match route {
                Ok(route) if is_local(&route) => local.add_route(&route),
                Ok(_) => {}
                // There is no such table: no address of this family.
                Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc::ENOENT => {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Addresses could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// By netlink.
    #[error("cannot read the local routes: {0}")]
    Netlink(#[from] rtnetlink::Error),
    /// The VRF devices, which have tables of their own.
    #[error("cannot list the interfaces: {0}")]
    Tables(#[source] io::Error),
    /// From `/proc`.
    #[error("cannot read the multicast groups in {file}: {source}")]
    Groups {
        /// The file.
        file: &'static str,
        /// Why.
        source: io::Error,
    },
}

fn is_local(route: &RouteMessage) -> bool {
    matches!(route.header.kind, RouteType::Local | RouteType::Broadcast | RouteType::Anycast)
}

fn destination(route: &RouteMessage) -> Option<IpAddr> {
    let given = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some((*address).into()),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some((*address).into()),
        _ => None,
    });
    // A default route has no destination.
    given.or(match route.header.address_family {
        AddressFamily::Inet => Some(Ipv4Addr::UNSPECIFIED.into()),
        AddressFamily::Inet6 => Some(Ipv6Addr::UNSPECIFIED.into()),
        _ => None,
    })
}

fn groups(file: &'static str) -> Result<Vec<IpAddr>, ReadError> {
    match fs::read(file) {
        // The names of interfaces, which may be any bytes, do not matter.
        Ok(bytes) => Ok(parse_groups(&String::from_utf8_lossy(&bytes))),
        // A kernel without IPv6, or without multicast.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(ReadError::Groups { file, source }),
    }
}

/// Groups in the text of `/proc/net/igmp` (`igmp_mc_seq_show`, net/ipv4/igmp.c) or `/proc/net/igmp6`
/// (`igmp6_mc_seq_show`, net/ipv6/mcast.c).
fn parse_groups(text: &str) -> Vec<IpAddr> {
    let group = |line: &str| -> Option<IpAddr> {
        let mut words = line.split_ascii_whitespace();
        let first = words.next()?;
        if line.starts_with(char::is_whitespace) && first.len() == 8 {
            // The address in network byte order, printed as a number of this machine.
            let bits = u32::from_str_radix(first, 16).ok()?;
            return Some(Ipv4Addr::from(bits.to_ne_bytes()).into());
        }
        // Index, device and group; a device may have any name without white space.
        let group = words.nth(1).filter(|group| group.len() == 32)?;
        Some(Ipv6Addr::from_bits(u128::from_str_radix(group, 16).ok()?).into())
    };
    text.lines().filter_map(group).collect()
}

/// Whether the first `length` bits of two addresses of a family are equal.
fn is_within(address: IpAddr, network: IpAddr, length: u8) -> bool {
    let shift = |width: u32| width.saturating_sub(u32::from(length));
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (address.to_bits() ^ network.to_bits()).checked_shr(shift(32)).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            (address.to_bits() ^ network.to_bits()).checked_shr(shift(128)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn reads_joined_groups() {
        let igmp = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
                    1\tlo        :     1      V3\n\
                    \t\t\t\t010000E0     1 0:00000000\t\t0\n\
                    2\teth0      :     2      V3\n\
                    \t\t\t\tFB0000E0     1 0:00000000\t\t0\n";
        if cfg!(target_endian = "little") {
            assert_eq!(parse_groups(igmp), [address("224.0.0.1"), address("224.0.0.251")]);
        }
        let igmp6 = "1    lo              ff020000000000000000000000000001     1 0000000C 0\n\
                     2    eth0            ff0200000000000000000001ff001234     1 00000004 0\n";
        assert_eq!(parse_groups(igmp6), [address("ff02::1"), address("ff02::1:ff00:1234")]);
        assert!(parse_groups("nonsense\n\n 1\n").is_empty());
    }

    #[test]
    fn networks_are_local_as_a_whole() {
        let local = LocalAddresses {
            addresses: [address("192.0.2.1")].into(),
            networks: [(address("127.0.0.0"), 8), (address("2001:db8::"), 32)].into(),
        };
        for inside in ["192.0.2.1", "127.1.2.3", "2001:db8:ffff::1", "::ffff:192.0.2.1"] {
            assert!(local.contains(address(inside)), "{inside}");
        }
        for outside in ["192.0.2.2", "128.0.0.1", "2001:db9::1", "::1"] {
            assert!(!local.contains(address(outside)), "{outside}");
        }
        let all = LocalAddresses { networks: [(address("0.0.0.0"), 0)].into(), ..local };
        assert!(all.contains(address("203.0.113.9")) && !all.contains(address("::1")));
    }

    #[tokio::test]
    async fn loopback_is_local() {
        let local = AddressWatch::connect().expect("netlink").read().await.expect("addresses");
        assert!(local.contains(address("127.0.0.1")), "{local:?}");
        assert!(local.contains(address("255.255.255.255")));
        assert!(!local.contains(address("203.0.113.9")));
    }
}
