//! Which packets of watched ports a filter accepts, and whether it accepts others too.

use monitor_common::flow::Protocol;

use super::{
    classic_bpf::{Answer, Budget, Filter},
    frame::{Frame, Layer, Packet},
};
use crate::sockets::port_filter::PortFilter;

/// Instructions for one filter: a quarter of a second, or some hundred for each of all ports.
const BUDGET: u64 = 100_000_000;

/// The other ends of the packets. Two are tried, because a filter may be for one of them.
const PEERS: [u16; 8] = [50_001, 61_007, 33_331, 45_673, 38_501, 57_103, 64_901, 41_999];

/// Types of Ethernet frames that are neither IPv4 nor IPv6: ARP, a VLAN tag, LLDP, PPPoE, EAPOL.
const OTHER_TYPES: [u16; 5] = [0x0806, 0x8100, 0x88cc, 0x8864, 0x888e];

/// A watched port, and a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CapturedPort {
    /// The port.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// Which packets a socket takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// None of a watched port.
    Nothing,
    /// Those of these watched ports, and no others.
    OnlyWatched(Vec<CapturedPort>),
    /// Those of these watched ports, and others.
    WatchedToo(Vec<CapturedPort>),
    /// Everything that its protocol has: it has no filter.
    Everything,
    /// Those that an eBPF program chooses, which cannot be read.
    Ebpf,
    /// It is not known which.
    Unknown,
}

/// The packets among which a filter chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Offered {
    /// Where they begin.
    pub(super) layer: Layer,
    /// Their only type; `None` if they may have any.
    pub(super) ethertype: Option<u16>,
    /// Their only protocol over IP; `None` if they may have any.
    pub(super) protocol: Option<u8>,
}

/// The filter gave no answer.
struct NoAnswer;

struct Trial<'a> {
    filter: &'a Filter,
    offered: Offered,
    peers: [u16; 2],
    budget: Budget,
}

impl Scope {
    /// The scope of a filter.
    pub(super) fn of(filter: &Filter, offered: Offered, watched: &PortFilter<'_>) -> Self {
        let mut peers = PEERS.into_iter().filter(|port| !watched.contains(*port));
        let peers = [peers.next().unwrap_or(PEERS[0]), peers.next().unwrap_or(PEERS[1])];
        let mut trial = Trial { filter, offered, peers, budget: Budget(BUDGET) };
        trial.scope(watched).unwrap_or(Self::Unknown)
    }

    /// The watched ports, if the filter is about some of them.
    pub fn ports(&self) -> &[CapturedPort] {
        match self {
            Self::OnlyWatched(ports) | Self::WatchedToo(ports) => ports,
            Self::Nothing | Self::Everything | Self::Ebpf | Self::Unknown => &[],
        }
    }

    /// Whether packets of `port` are taken, or may be.
    pub fn includes(&self, port: u16) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything | Self::Ebpf | Self::Unknown => true,
            _ => self.ports().iter().any(|captured| captured.port == port),
        }
    }
}

impl Trial<'_> {
    fn scope(&mut self, watched: &PortFilter<'_>) -> Result<Scope, NoAnswer> {
        let mut ports = Vec::new();
        for &port in watched.ports {
            for protocol in Protocol::COMMON {
                if self.accepts_port(port, protocol)? {
                    ports.push(CapturedPort { port, protocol });
                }
            }
        }
        Ok(if ports.is_empty() {
            Scope::Nothing
        } else if self.accepts_others(watched)? {
            Scope::WatchedToo(ports)
        } else {
            Scope::OnlyWatched(ports)
        })
    }

    /// Whether some packet to or from a port is accepted, whatever the port of the other end is.
    fn accepts_port(&mut self, port: u16, protocol: Protocol) -> Result<bool, NoAnswer> {
        let protocol = protocol.ip_number();
        for is_ipv6 in [false, true] {
            for is_source in [false, true] {
                let mut accepted = 0;
                for peer in self.peers {
                    let (source, destination) = if is_source { (port, peer) } else { (peer, port) };
                    let packet = Packet::Ports { is_ipv6, protocol, source, destination };
                    accepted += usize::from(self.accepts(packet)?);
                }
                if accepted == self.peers.len() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn accepts_others(&mut self, watched: &PortFilter<'_>) -> Result<bool, NoAnswer> {
        for ethertype in OTHER_TYPES {
            if self.accepts(Packet::Ethernet(ethertype))? {
                return Ok(true);
            }
        }
        for protocol in (0..=u8::MAX).filter(|protocol| !matches!(protocol, 6 | 17)) {
            for is_ipv6 in [false, true] {
                if self.accepts(Packet::Ip { is_ipv6, protocol })? {
                    return Ok(true);
                }
            }
        }
        for port in (1..=u16::MAX).filter(|port| !watched.contains(*port)) {
            for protocol in Protocol::COMMON {
                if self.accepts_port(port, protocol)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn accepts(&mut self, packet: Packet) -> Result<bool, NoAnswer> {
        let Offered { layer, ethertype, protocol } = self.offered;
        let is_offered = ethertype.is_none_or(|only| only == packet.ethertype())
            && protocol.is_none_or(|only| packet.protocol() == Some(only));
        if !is_offered {
            return Ok(false);
        }
        match self.filter.answer(&Frame::new(packet, layer), &mut self.budget) {
            Answer::Accepts => Ok(true),
            Answer::Rejects => Ok(false),
            Answer::Unknown => Err(NoAnswer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockets::captures::filters::{
        HOST, Instruction, TCP_TO_80, UDP_PORT_2948, UDP_TO_TWO_PORTS_WITHOUT_LINK, program,
    };

    const PORTS: [u16; 5] = [2923, 2948, 2949, 3716, 3717];
    const ANY: Offered = Offered { layer: Layer::Link, ethertype: None, protocol: None };

    fn scope(instructions: &[Instruction], offered: Offered, ports: &[u16]) -> Scope {
        let filter = Filter::from_bytes(&program(instructions)).expect("a program");
        Scope::of(&filter, offered, &PortFilter::new(ports))
    }

    fn udp(port: u16) -> CapturedPort {
        CapturedPort { port, protocol: Protocol::Udp }
    }

    #[test]
    fn a_filter_for_a_watched_port_accepts_only_that() {
        assert_eq!(scope(UDP_PORT_2948, ANY, &PORTS), Scope::OnlyWatched(vec![udp(2948)]));
        assert_eq!(scope(UDP_PORT_2948, ANY, &[2949]), Scope::Nothing);
        assert_eq!(scope(TCP_TO_80, ANY, &PORTS), Scope::Nothing);
    }

    #[test]
    fn ports_beside_a_watched_one_are_others() {
        let at_network = Offered { layer: Layer::Network, ethertype: Some(0x0800), protocol: None };
        let both = scope(UDP_TO_TWO_PORTS_WITHOUT_LINK, at_network, &PORTS);
        assert_eq!(both, Scope::OnlyWatched(vec![udp(2948), udp(2949)]));
        let one = scope(UDP_TO_TWO_PORTS_WITHOUT_LINK, at_network, &[2948]);
        assert_eq!(one, Scope::WatchedToo(vec![udp(2948)]));
        let ipv6 = Offered { ethertype: Some(0x86dd), ..at_network };
        assert_eq!(scope(UDP_TO_TWO_PORTS_WITHOUT_LINK, ipv6, &PORTS), Scope::Nothing);
    }

    #[test]
    fn a_filter_for_an_address_accepts_every_port() {
        let Scope::WatchedToo(ports) = scope(HOST, ANY, &PORTS) else { panic!("other scope") };
        assert_eq!(ports.len(), 2 * PORTS.len());
    }

    #[test]
    fn a_filter_for_all_or_nothing() {
        let all = scope(&[(6, 0, 0, 0xffff)], ANY, &[2948]);
        let tcp = CapturedPort { port: 2948, protocol: Protocol::Tcp };
        assert_eq!(all, Scope::WatchedToo(vec![tcp, udp(2948)]));
        assert_eq!(scope(&[(6, 0, 0, 0)], ANY, &[2948]), Scope::Nothing);
        assert_eq!(scope(&[(0x20, 0, 0, 0)], ANY, &[2948]), Scope::Unknown, "no return");
    }

    #[test]
    fn an_address_beside_a_port_does_not_hide_it() {
        // UDP from 192.0.2.1 to port 2948.
        let filter = [
            (0x28, 0, 0, 12),
            (0x15, 0, 8, 0x0800),
            (0x30, 0, 0, 23),
            (0x15, 0, 6, 17),
            (0x20, 0, 0, 26),
            (0x15, 0, 4, 0xc000_0201),
            (0xb1, 0, 0, 14),
            (0x48, 0, 0, 16),
            (0x15, 0, 1, 2948),
            (0x06, 0, 0, 0x0004_0000),
            (0x06, 0, 0, 0),
        ];
        assert_eq!(scope(&filter, ANY, &PORTS), Scope::OnlyWatched(vec![udp(2948)]));
    }

    #[test]
    fn a_raw_socket_is_offered_its_protocol_alone() {
        // As a raw socket of UDP has it: the port at its place behind the header of IPv4 or IPv6.
        let raw = |layer, ethertype| Offered { layer, ethertype, protocol: Some(17) };
        let ipv4 =
            [(0xb1, 0, 0, 0), (0x48, 0, 0, 2), (0x15, 0, 1, 2948), (6, 0, 0, 1), (6, 0, 0, 0)];
        let at_network = raw(Layer::Network, Some(0x0800));
        assert_eq!(scope(&ipv4, at_network, &PORTS), Scope::OnlyWatched(vec![udp(2948)]));
        let ipv6 = [(0x28, 0, 0, 2), (0x15, 0, 1, 2948), (6, 0, 0, 1), (6, 0, 0, 0)];
        let at_transport = raw(Layer::Transport, Some(0x86dd));
        assert_eq!(scope(&ipv6, at_transport, &PORTS), Scope::OnlyWatched(vec![udp(2948)]));
    }

    #[test]
    fn every_port_may_be_watched() {
        let ports: Vec<u16> = (1..=u16::MAX).collect();
        assert_eq!(scope(UDP_PORT_2948, ANY, &ports), Scope::OnlyWatched(vec![udp(2948)]));
    }
}
