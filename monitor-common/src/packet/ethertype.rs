//! IEEE 802 numbers, `include/uapi/linux/if_ether.h`.

/// Internet Protocol version 4.
pub const IPV4: u16 = 0x0800;
/// Internet Protocol version 6.
pub const IPV6: u16 = 0x86dd;
/// 802.1Q customer tag.
pub const VLAN: u16 = 0x8100;
/// 802.1ad service tag.
pub const SERVICE_VLAN: u16 = 0x88a8;
