//! The addresses of a network namespace, from its `net` folder.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

/// Addresses at which a namespace takes packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Addresses(BTreeSet<IpAddr>);

impl Addresses {
    /// Reads them below a `net` folder.
    pub(super) fn read(folder: &Path) -> io::Result<Self> {
        let mut addresses = Self(v4(&fs::read_to_string(folder.join("fib_trie"))?).collect());
        // A kernel without IPv6 has no such file.
        let v6_list = fs::read_to_string(folder.join("if_inet6")).unwrap_or_default();
        addresses.0.extend(v6(&v6_list));
        Ok(addresses)
    }

    /// Whether packets to `address` are taken.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.0.contains(&address)
    }

    /// Whether `matches` holds for one of them.
    pub(super) fn any(&self, matches: impl FnMut(&IpAddr) -> bool) -> bool {
        self.0.iter().any(matches)
    }
}

/// The leaves of the routing trie that are addresses of this host: a line with the address, and
/// below it lines with the routes to it.
fn v4(trie: &str) -> impl Iterator<Item = IpAddr> {
    let mut leaf = None;
    trie.lines().filter_map(move |line| {
        let line = line.trim_start();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
            return None;
        }
        (line == "/32 host LOCAL").then_some(leaf?.into())
    })
}

/// Lines such as `fe80000000000000…0001 02 40 20 80 eth0`.
fn v6(list: &str) -> impl Iterator<Item = IpAddr> {
    list.lines().filter_map(|line| {
        let address = u128::from_str_radix(line.split_ascii_whitespace().next()?, 16).ok()?;
        Some(Ipv6Addr::from(address).into())
    })
}

/// Interfaces that the kernel makes in every namespace once the module of a tunnel is there
/// (`net.core.fb_tunnels_only_for_init_net`). They lead nowhere unless they have an address or a route.
const FALLBACK_TUNNELS: [&str; 9] =
    ["tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"];

/// Whether a namespace has an interface that may lead elsewhere; `None` if that cannot be read.
pub(super) fn has_other_interfaces(folder: &Path) -> Option<bool> {
    let devices = fs::read_to_string(folder.join("dev")).ok()?;
    let used = ["route", "if_inet6"].map(|list| fs::read_to_string(folder.join(list)));
    let used = used.map(Result::unwrap_or_default);
    let is_used = |name: &str| used.iter().any(|l| l.split_ascii_whitespace().any(|w| w == name));
    Some(leads_elsewhere(&devices, is_used))
}

fn leads_elsewhere(devices: &str, is_used: impl Fn(&str) -> bool) -> bool {
    let names = devices.lines().skip(2).filter_map(|line| line.split(':').next());
    names
        .map(str::trim)
        .any(|name| name != "lo" && (!FALLBACK_TUNNELS.contains(&name) || is_used(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_local_leaves_of_the_trie() {
        let trie = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.0\n        /24 link UNICAST\n\
                    \x20    |-- 10.0.0.5\n        /32 host LOCAL\n     |-- 10.0.0.255\n        \
                    /32 link BROADCAST\n";
        let found: Vec<IpAddr> = v4(trie).collect();
        assert_eq!(found, ["10.0.0.5".parse::<IpAddr>().expect("an address")]);
    }

    #[test]
    fn reads_the_list_of_ipv6() {
        let list = "00000000000000000000000000000001 01 80 10 80       lo\n";
        let found: Vec<IpAddr> = v6(list).collect();
        assert_eq!(found, ["::1".parse::<IpAddr>().expect("an address")]);
    }

    #[test]
    fn an_unused_tunnel_of_the_kernel_leads_nowhere() {
        let devices = |names: &[&str]| {
            let lines = names.iter().map(|name| format!("  {name}: 0 0 0 0\n"));
            format!("Inter-| Receive\n face |bytes\n{}", lines.collect::<String>())
        };
        assert!(!leads_elsewhere(&devices(&["lo"]), |_| true));
        assert!(!leads_elsewhere(&devices(&["lo", "tunl0", "sit0"]), |_| false));
        assert!(leads_elsewhere(&devices(&["lo", "tunl0"]), |name| name == "tunl0"));
        assert!(leads_elsewhere(&devices(&["lo", "sit0", "eth0"]), |_| false));
    }

    #[test]
    fn own_addresses_are_found() {
        let addresses = Addresses::read(Path::new("/proc/self/net")).expect("addresses");
        assert!(addresses.contains(Ipv4Addr::LOCALHOST.into()));
        assert!(!addresses.contains(Ipv4Addr::new(192, 0, 2, 77).into()));
    }
}
