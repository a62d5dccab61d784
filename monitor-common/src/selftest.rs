//! The mark of a selftest: calls and packets that the kernel side reports apart from all others.
//!
//! A selftest of the running agent binds a watched port at one address of 127.0.0.0/8 that the agent has
//! chosen by chance, and sends itself a datagram there. Programs recognize both by address, port and
//! process. They count neither among the calls nor among the packets of the port.

use crate::ports::WirePort;

/// The mark, and the packets that had it; the value of a variable of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct SelftestMark {
    /// `CLOCK_BOOTTIME` at which the mark ends, nanoseconds; 0 for no mark. Userspace may end before
    /// it has removed its mark.
    pub until_ns: u64,
    /// The address of both ends, as a packet has it.
    pub address: u32,
    /// The thread group whose calls have the mark; 0 for every one.
    pub tgid: u32,
    /// The watched port, as a packet has it.
    pub port: u16,
    /// Explicit padding.
    pub reserved: [u16; 3],
    /// Packets that had the mark, by [`Direction`](crate::flow::Direction).
    pub packets: [u64; 2],
}
const _: () = assert!(size_of::<SelftestMark>() == 40);

impl SelftestMark {
    /// No mark. All zero, as a section without contents has to be.
    pub const NONE: Self =
        Self { until_ns: 0, address: 0, tgid: 0, port: 0, reserved: [0; 3], packets: [0; 2] };

    /// A mark that holds until `until_ns`.
    pub const fn new(until_ns: u64, address: [u8; 4], port: u16, tgid: u32) -> Self {
        let address = u32::from_ne_bytes(address);
        Self { until_ns, address, tgid, port: WirePort::of(port).0, ..Self::NONE }
    }
}
