//! The ports whose listeners are reported: what the bind, listen and close hooks ask beside the watched
//! ports. Packets of these ports cost nothing, and no counter has them.

use crate::ports::PortSet;

/// The ports whose listeners are reported; the value of a variable of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct ListenerPorts {
    /// The ports.
    pub set: PortSet,
    /// Whether only the return of a system call sees binds: then the entry has to look for them. 0 or 1.
    pub binds_are_seen_at_return: u64,
}
const _: () = assert!(size_of::<ListenerPorts>() == 8200);

impl ListenerPorts {
    /// No port. All zero, as a section without contents has to be.
    pub const NONE: Self = Self { set: PortSet::EMPTY, binds_are_seen_at_return: 0 };
}
