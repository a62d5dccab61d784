//! Capacities of the kernel maps: what bounds the memory of the kernel side.

/// Interfaces that can be counted at once; one inner array each.
pub const MAX_INTERFACES: u32 = 1024;

/// Interface indices below this find their counters by one indexed load, the others by a hash.
pub const NEAR_INTERFACES: u32 = 1024;

/// Bytes of the ring buffer of socket events; a power of two and a multiple of the page size.
pub const EVENT_RING_BYTES: usize = 256 * 1024;

/// Threads that can be inside a traced `bind(2)` at once.
pub const MAX_BINDS_IN_FLIGHT: u32 = 256;

/// Sockets of which it is known that a bind left the choice of their port to the kernel. Should
/// there be more, the closes of those that were not used longest are not told.
pub const MAX_AUTOMATIC_BINDS: u32 = 1024;
