//! Numbers of link layers, www.tcpdump.org/linktypes.html.

pub(super) const NULL: u16 = 0;
pub(super) const ETHERNET: u16 = 1;
/// A direction and a compressed header in front of the packet.
pub(super) const SLIP: u16 = 8;
pub(super) const PPP: u16 = 9;
/// What some systems write in place of [`RAW`].
pub(super) const RAW_OF_BSD: u16 = 12;
pub(super) const RAW_OF_OPENBSD: u16 = 14;
pub(super) const PPP_HDLC: u16 = 50;
pub(super) const PPP_ETHER: u16 = 51;
pub(super) const RAW: u16 = 101;
pub(super) const C_HDLC: u16 = 104;
pub(super) const IEEE802_11: u16 = 105;
pub(super) const FRAME_RELAY: u16 = 107;
pub(super) const LOOP: u16 = 108;
pub(super) const ENC: u16 = 109;
pub(super) const LINUX_SLL: u16 = 113;
pub(super) const PFLOG: u16 = 117;
pub(super) const PRISM: u16 = 119;
pub(super) const RADIOTAP: u16 = 127;
/// Apple's number of [`PKTAP`] before it was assigned: the third for users.
pub(super) const PKTAP_OF_APPLE: u16 = 149;
pub(super) const AVS: u16 = 163;
pub(super) const PPP_PPPD: u16 = 166;
pub(super) const PPI: u16 = 192;
pub(super) const PPP_WITH_DIRECTION: u16 = 204;
pub(super) const IPV4: u16 = 228;
pub(super) const IPV6: u16 = 229;
pub(super) const NFLOG: u16 = 239;
pub(super) const PKTAP: u16 = 258;
pub(super) const LINUX_SLL2: u16 = 276;

/// Names of link layers that carry no IP, or that are not read here.
pub(super) const fn name(number: u16) -> Option<&'static str> {
    Some(match number {
        3 => "AX.25",
        6 => "Token Ring",
        7 | 129 => "ARCNET",
        10 => "FDDI",
        100 | 106 | 123 => "ATM",
        122 => "IP over Fibre Channel",
        130..=138 | 164 | 178..=186 | 194 | 200 | 238 => "Juniper's own",
        139..=142 => "SS7",
        143 => "DOCSIS",
        144 => "IrDA",
        147..=162 => "for private use",
        165 => "BACnet MS/TP",
        187 | 201 => "Bluetooth",
        189 | 220 | 249 => "USB",
        195 | 215 | 230 | 283 => "IEEE 802.15.4",
        197 => "ERF",
        226 => "IPNET of Solaris",
        227 => "CAN",
        231 => "D-Bus",
        242 => "IP over InfiniBand",
        240 | 241 => "netANALYZER",
        247 => "InfiniBand",
        251 | 256 => "Bluetooth Low Energy",
        252 => "Wireshark's upper layers",
        253 => "Netlink",
        271 => "vsock",
        281 | 282 => "Broadcom's tags",
        284 | 285 => "Marvell's tags",
        _ => return None,
    })
}
