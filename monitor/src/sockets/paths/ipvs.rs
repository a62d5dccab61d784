//! Services of the kernel's load balancer, from `/proc/net/ip_vs` (`net/netfilter/ipvs/ip_vs_ctl.c`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use monitor_common::{flow::Protocol, ports::PortSet};

use super::route::{Route, Target};
use crate::sockets::{addresses::Addresses, reach::Path};

/// The routes to one of `ports` at an address of `local` that a list has.
pub(super) fn routes(list: &str, ports: &PortSet, local: &Addresses) -> Vec<Route> {
    let mut service = None;
    let mut routes = Vec::new();
    for line in list.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("TCP") => service = words.next().and_then(end).map(|end| (Protocol::Tcp, end)),
            Some("UDP") => service = words.next().and_then(end).map(|end| (Protocol::Udp, end)),
            Some("->") => {
                let Some((protocol, at)) = service else { continue };
                // Weight, active and inactive connections follow the method of forwarding.
                let target = words.next().and_then(end);
                let counts = words.skip(2).take(2).map(str::parse::<u64>);
                let connections = counts.filter_map(Result::ok).sum();
                if ports.contains(at.port()) && local.contains(at.ip()) {
                    let target =
                        target.map(|to| Target { address: Some(to.ip()), port: to.port() });
                    routes.push(Route {
                        port: at.port(),
                        protocol,
                        path: Path::Ipvs,
                        target,
                        connections: Some(connections),
                        flows: Vec::new(),
                        has_ended: false,
                    });
                }
            }
            // A service by firewall mark, SCTP, or a heading.
            _ => service = None,
        }
    }
    routes
}

/// `0A000001:0B84`, or `[2001:0db8:…]:0B84`.
fn end(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let address: IpAddr = match address.strip_prefix('[') {
        Some(address) => IpAddr::V6(address.strip_suffix(']')?.parse().ok()?),
        None => Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?).into(),
    };
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_services_with_their_real_servers() {
        let list = "IP Virtual Server version 1.2.1 (size=4096)\n\
            Prot LocalAddress:Port Scheduler Flags\n\
            \x20 -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n\
            TCP  7F000001:0B84 rr  \n\
            \x20 -> 0A000007:1F90      Masq    1      2          39        \n\
            FWM  00000001 rr  \n\
            \x20 -> 0A000008:1F90      Masq    1      0          0         \n\
            UDP  [0000:0000:0000:0000:0000:0000:0000:0001]:0B84 rr  \n\
            \x20 -> [2001:0db8:0000:0000:0000:0000:0000:0002]:1F90      Masq    1      0          0\n";
        let ports: PortSet = [2948].into_iter().collect();
        let routes = routes(list, &ports, &Addresses::default());
        let shown: Vec<_> = routes
            .iter()
            .map(|route| (route.protocol, route.target.map(|to| to.to_string()), route.connections))
            .collect();
        assert_eq!(
            shown,
            [
                (Protocol::Tcp, Some("10.0.0.7:8080".to_owned()), Some(41)),
                (Protocol::Udp, Some("[2001:db8::2]:8080".to_owned()), Some(0)),
            ]
        );
    }
}
