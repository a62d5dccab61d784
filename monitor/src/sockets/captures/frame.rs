//! Packets as a filter sees them. Only what makes a packet one of a port is known of them: types,
//! protocols, lengths of headers, and ports. Addresses, flags and payload are not. In packets without
//! ports, the bytes at the places of ports are known to be none that is looked for.

/// A kind of packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// TCP or UDP between two ports, not fragmented, without IPv4 options and IPv6 extensions.
    Ports { is_ipv6: bool, protocol: u8, source: u16, destination: u16 },
    /// Another protocol over IPv4 or IPv6.
    Ip { is_ipv6: bool, protocol: u8 },
    /// Another type of Ethernet frame.
    Ethernet(u16),
}

/// The layer whose header a packet begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Layer {
    /// Ethernet.
    Link,
    /// IPv4 or IPv6: on interfaces without a header of their own, and for `SOCK_DGRAM`.
    Network,
    /// TCP or UDP: for raw sockets of IPv6.
    Transport,
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// Bytes that may be known: Ethernet, IPv6 and ports.
const ROOM: usize = 14 + 40 + 4;

/// What packets without ports have at the places of ports: port 65535, twice.
const FILLER: u8 = 0xff;

/// A packet whose bytes are partly known.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    bytes: [Option<u8>; ROOM],
    /// Offset of the header of the network layer.
    network: usize,
    /// Offset at which the filter finds the packet's first byte.
    start: usize,
    ethertype: u16,
}

/// Offsets from here on ask for what is not in the packet (`SKF_AD_OFF`), from `SKF_NET_OFF` on for
/// the header of the network layer, and from `SKF_LL_OFF` on for that of the link layer.
const ANCILLARY: u32 = -0x1000_i32 as u32;
const NETWORK: u32 = -0x10_0000_i32 as u32;
const LINK: u32 = -0x20_0000_i32 as u32;

/// `SKF_AD_PROTOCOL`.
const ETHERTYPE: u32 = 0;

impl Packet {
    /// The type in its Ethernet header.
    pub(super) const fn ethertype(self) -> u16 {
        match self {
            Self::Ports { is_ipv6, .. } | Self::Ip { is_ipv6, .. } => {
                if is_ipv6 {
                    IPV6
                } else {
                    IPV4
                }
            }
            Self::Ethernet(ethertype) => ethertype,
        }
    }

    /// Its protocol over IP.
    pub(super) const fn protocol(self) -> Option<u8> {
        match self {
            Self::Ports { protocol, .. } | Self::Ip { protocol, .. } => Some(protocol),
            Self::Ethernet(_) => None,
        }
    }
}

impl Frame {
    /// A packet that begins with the header of `layer`.
    pub(super) fn new(packet: Packet, layer: Layer) -> Self {
        let (network, start) = match layer {
            Layer::Link => (14, 0),
            Layer::Network => (0, 0),
            Layer::Transport if packet.ethertype() == IPV6 => (0, 40),
            Layer::Transport => (0, 20),
        };
        let ethertype = packet.ethertype();
        let mut frame = Self { bytes: [None; ROOM], network, start, ethertype };
        if layer == Layer::Link {
            frame.write(12, &ethertype.to_be_bytes());
        }
        match packet {
            Packet::Ports { is_ipv6, protocol, source, destination } => {
                let transport = frame.write_ip(is_ipv6, protocol);
                frame.write(transport, &source.to_be_bytes());
                frame.write(transport + 2, &destination.to_be_bytes());
            }
            Packet::Ip { is_ipv6, protocol } => {
                let transport = frame.write_ip(is_ipv6, protocol);
                frame.write(transport, &[FILLER; 4]);
            }
            Packet::Ethernet(_) => frame.write(network, &[FILLER; ROOM]),
        }
        frame
    }

    /// Returns the offset of the transport layer.
    fn write_ip(&mut self, is_ipv6: bool, protocol: u8) -> usize {
        let network = self.network;
        if is_ipv6 {
            self.write(network, &[0x60]);
            self.write(network + 6, &[protocol]);
            network + 40
        } else {
            self.write(network, &[0x45]);
            // No fragment.
            self.write(network + 6, &[0, 0]);
            self.write(network + 9, &[protocol]);
            network + 20
        }
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        for (place, byte) in self.bytes.iter_mut().skip(offset).zip(bytes) {
            *place = Some(*byte);
        }
    }

    /// Bytes as a number; `None` if they are not known. The packet may be long enough for any offset.
    pub(super) fn read(&self, offset: u32, size: usize) -> Option<u32> {
        let start = match offset {
            ANCILLARY.. => {
                return (offset - ANCILLARY == ETHERTYPE).then_some(self.ethertype.into());
            }
            NETWORK.. => self.network.checked_add((offset - NETWORK) as usize)?,
            LINK.. => (offset - LINK) as usize,
            _ => self.start.checked_add(offset as usize)?,
        };
        let bytes = self.bytes.get(start..start.checked_add(size)?)?;
        bytes.iter().try_fold(0, |value, byte| Some(value << 8 | u32::from((*byte)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_ports_and_no_addresses() {
        let packet = Packet::Ports { is_ipv6: true, protocol: 17, source: 1, destination: 2948 };
        let frame = Frame::new(packet, Layer::Link);
        assert_eq!(frame.read(12, 2), Some(0x86dd));
        assert_eq!(frame.read(20, 1), Some(17));
        assert_eq!(frame.read(54, 4), Some(1 << 16 | 2948));
        assert_eq!(frame.read(22, 4), None, "an address");
        assert_eq!(frame.read(58, 1), None, "the payload");
        assert_eq!(frame.read(u32::MAX, 4), None, "ancillary");
        assert_eq!(frame.read(ANCILLARY, 4), Some(0x86dd));
        assert_eq!(frame.read(NETWORK + 6, 1), Some(17));
        assert_eq!(frame.read(LINK + 12, 2), Some(0x86dd));
    }
}
