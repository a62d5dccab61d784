//! Notices of processes that may have begun to capture packets, in the ring buffer of events.

/// A thread that has opened a packet, raw or AF_XDP socket, or attached a filter to a socket: it is
/// for userspace to look at the sockets of its process, in its network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct CaptureNotice {
    /// Thread group, in the initial pid namespace.
    pub tgid: u32,
    /// Thread, likewise.
    pub pid: u32,
}
const _: () = assert!(size_of::<CaptureNotice>() == 8);

/// How many notices were sent in a time window, so that a process that opens sockets in a loop does not
/// fill the ring buffer. Two CPUs may both take the last place: that is no harm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NoticeWindow {
    /// When it began, `CLOCK_BOOTTIME`, nanoseconds.
    pub start_ns: u64,
    /// Notices in it.
    pub count: u64,
}

impl NoticeWindow {
    /// Length of a window, nanoseconds.
    pub const LENGTH_NS: u64 = 100_000_000;

    /// Most notices in a window.
    pub const MOST: u64 = 32;
}
