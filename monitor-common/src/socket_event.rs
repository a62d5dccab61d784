//! Socket calls on watched ports: the record that travels through the ring buffer, and the
//! counters that stay exact when the ring buffer is full.

/// What happened to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SocketEventKind {
    /// A `bind(2)` or io_uring bind returned, well or badly.
    Bind = 1,
    /// A TCP socket began to listen.
    Listen = 2,
    /// A socket that held the port was closed.
    Close = 3,
    /// A process sends to the port of a peer. Port and address of the record are the peer's.
    Connect = 4,
}

/// How a bind ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BindResult {
    /// The socket holds the port.
    Success = 0,
    /// `EADDRINUSE`.
    InUse = 1,
    /// `EACCES` or `EPERM`.
    Denied = 2,
    /// Any other error number.
    Error = 3,
}

impl BindResult {
    /// How many results there are.
    pub const COUNT: usize = 4;

    /// Every result, in the order of its index.
    pub const ALL: [Self; Self::COUNT] = [Self::Success, Self::InUse, Self::Denied, Self::Error];

    /// From the error number of the call, 0 for none (`asm-generic/errno-base.h`, `errno.h`).
    pub const fn from_errno(errno: u32) -> Self {
        const EPERM: u32 = 1;
        const EACCES: u32 = 13;
        const EADDRINUSE: u32 = 98;
        match errno {
            0 => Self::Success,
            EADDRINUSE => Self::InUse,
            EPERM | EACCES => Self::Denied,
            _ => Self::Error,
        }
    }

    /// Name in metrics and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::InUse => "in_use",
            Self::Denied => "denied",
            Self::Error => "error",
        }
    }
}

/// Counters of the socket calls on one port, shared by all CPUs and added to atomically.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct SocketCounters {
    /// Binds by protocol and result.
    pub binds: [[u64; BindResult::COUNT]; 2],
    /// Transitions of a TCP socket to the listening state.
    pub listens: u64,
    /// Closed sockets that held the port, by protocol.
    pub closes: [u64; 2],
}
const _: () = assert!(size_of::<SocketCounters>() == 88);

/// Length of a task's name with its NUL, `TASK_COMM_LEN` of `include/linux/sched.h`.
pub const TASK_NAME_LEN: usize = 16;

/// A socket call on a watched port, captured at the moment of the call.
///
/// A field that could not be had is 0, and `known` says which ones could.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct SocketEvent {
    /// `CLOCK_BOOTTIME` or, before Linux 5.8, `CLOCK_MONOTONIC`; nanoseconds.
    pub time_ns: u64,
    /// Id of the caller's cgroup in the unified hierarchy.
    pub cgroup_id: u64,
    /// When the caller's process was made, `CLOCK_BOOTTIME`, nanoseconds.
    pub start_time_ns: u64,
    /// Thread group: what userspace calls the process id.
    pub tgid: u32,
    /// Thread: what userspace calls the thread id.
    pub pid: u32,
    /// Real user id of the caller.
    pub uid: u32,
    /// Real group id of the caller.
    pub gid: u32,
    /// Effective user id of the caller.
    pub effective_uid: u32,
    /// Inode of the socket's network namespace, as in `/proc/PID/ns/net`.
    pub netns_inode: u32,
    /// Error number of a bind, 0 for success.
    pub errno: u32,
    /// Thread group of the caller's parent.
    pub parent_tgid: u32,
    /// Length of the caller's command line; what exceeds [`COMMAND_LINE_LEN`] was left there.
    pub command_line_len: u32,
    /// Local port, host byte order: the one held after success, else the one asked for.
    pub port: u16,
    /// [`SocketEventKind`].
    pub kind: u8,
    /// Transport protocol as in `sk_protocol`: 6, 17, 132 or 136.
    pub protocol: u8,
    /// Local address; an IPv4 address is in the first four bytes.
    pub address: [u8; 16],
    /// Name of the calling thread, NUL-padded.
    pub thread_name: [u8; TASK_NAME_LEN],
    /// Name of the thread group's leader, NUL-padded.
    pub process_name: [u8; TASK_NAME_LEN],
    /// Bits of [`known`].
    pub known: u32,
    /// Low half of the address of the caller's arguments in its own memory, 0 if not known: another
    /// one for every program that is executed, because the kernel places stacks at random.
    pub arguments_at: u32,
    /// Index of the interface that the socket is bound to (`SO_BINDTODEVICE`, or the zone of a
    /// link-local address), 0 for none.
    pub interface: u32,
    /// Inode of the socket, as in `/proc/PID/fd` and in the lists of sockets; 0 if it is not known.
    pub socket_inode: u32,
    /// Address family: 4 or 6.
    pub family: u8,
    /// [`Mechanism`] that saw the call.
    pub mechanism: u8,
    /// Explicit padding.
    pub reserved: [u8; 6],
    /// Device of the file that the caller executes, as the kernel has it in `super_block.s_dev`. It is
    /// that of `/proc/PID/mountinfo`, and not of stat(2) where a file system has devices of its own.
    pub executable_device: u32,
    /// Generation of the inode, which differs when a number is used again; 0 in many file systems.
    pub executable_generation: u32,
    /// Inode of the caller's user namespace, as in `/proc/PID/ns/user`.
    pub user_namespace: u32,
    /// Inode of the caller's mount namespace, as in `/proc/PID/ns/mnt`.
    pub mount_namespace: u32,
    /// Inode of the file that the caller executes, `inode.i_ino`.
    pub executable_inode: u64,
}
const _: () = assert!(size_of::<SocketEvent>() == 160);

impl SocketEvent {
    /// No call: every field is 0.
    pub const NOTHING: Self = Self {
        time_ns: 0,
        cgroup_id: 0,
        start_time_ns: 0,
        tgid: 0,
        pid: 0,
        uid: 0,
        gid: 0,
        effective_uid: 0,
        netns_inode: 0,
        errno: 0,
        parent_tgid: 0,
        command_line_len: 0,
        port: 0,
        kind: 0,
        protocol: 0,
        address: [0; 16],
        thread_name: [0; TASK_NAME_LEN],
        process_name: [0; TASK_NAME_LEN],
        known: 0,
        arguments_at: 0,
        interface: 0,
        socket_inode: 0,
        family: 0,
        mechanism: 0,
        reserved: [0; 6],
        executable_device: 0,
        executable_generation: 0,
        user_namespace: 0,
        mount_namespace: 0,
        executable_inode: 0,
    };
}

/// Bytes of a command line that are taken along. The ring buffer holds 309 binds with,
/// or 780 without.
pub const COMMAND_LINE_LEN: usize = 256;

/// A bind or listen with the command line of its caller; one without, and a close, is written as
/// [`SocketEvent`] alone.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct SocketEventWithCommandLine {
    /// The call.
    pub event: SocketEvent,
    /// Arguments, each with its NUL; no more than `event.command_line_len` of it is meant.
    pub command_line: [u8; COMMAND_LINE_LEN],
}
const _: () = assert!(size_of::<SocketEventWithCommandLine>() == 416);

/// Bits of [`SocketEvent::known`]: fields that were really read, and properties of the call.
pub mod known {
    /// `netns_inode`.
    pub const NETNS: u32 = 1 << 0;
    /// `effective_uid`.
    pub const EFFECTIVE_UID: u32 = 1 << 1;
    /// `process_name`.
    pub const PROCESS_NAME: u32 = 1 << 2;
    /// `address`.
    pub const ADDRESS: u32 = 1 << 3;
    /// `family`.
    pub const FAMILY: u32 = 1 << 4;
    /// `parent_tgid`.
    pub const PARENT: u32 = 1 << 5;
    /// `start_time_ns`.
    pub const START_TIME: u32 = 1 << 6;
    /// `command_line_len`, and the command line behind the event.
    pub const COMMAND_LINE: u32 = 1 << 7;
    /// The call has the mark of a selftest, see [`crate::selftest`].
    pub const SELFTEST: u32 = 1 << 8;
    /// The call opens or closes a listener on a port of the set of listeners.
    pub const LISTENER: u32 = 1 << 9;
    /// The call is reported for the sake of listeners alone: nothing counted it, and its port need not
    /// be watched.
    pub const LISTENER_ONLY: u32 = 1 << 10;
    /// The socket belongs to the kernel, which may act on behalf of the running process or not.
    pub const KERNEL_SOCKET: u32 = 1 << 11;
    /// `interface`.
    pub const INTERFACE: u32 = 1 << 12;
    /// Whether an IPv6 socket accepts IPv4 was read, see [`V6_ONLY`].
    pub const V6_ONLY_READ: u32 = 1 << 13;
    /// The IPv6 socket does not accept IPv4 (`IPV6_V6ONLY`).
    pub const V6_ONLY: u32 = 1 << 14;
    /// `executable_device`, `executable_inode` and `executable_generation`.
    pub const EXECUTABLE: u32 = 1 << 15;
    /// `user_namespace`.
    pub const USER_NAMESPACE: u32 = 1 << 16;
    /// `mount_namespace`.
    pub const MOUNT_NAMESPACE: u32 = 1 << 17;
}

/// The kind of kernel hook that saw a socket call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Mechanism {
    /// BPF trampoline on return from a kernel function.
    Fexit = 1,
    /// kprobe and kretprobe on a kernel function.
    Kprobe = 2,
    /// Program attached to the root of the unified cgroup hierarchy.
    Cgroup = 3,
    /// Static tracepoint.
    Tracepoint = 4,
}

impl Mechanism {
    /// Name in metrics, events and the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fexit => "fexit",
            Self::Kprobe => "kprobe",
            Self::Cgroup => "cgroup",
            Self::Tracepoint => "tracepoint",
        }
    }
}

/// A byte of a record that names no variant of its enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownVariant(pub u8);

impl TryFrom<u8> for SocketEventKind {
    type Error = UnknownVariant;

    fn try_from(byte: u8) -> Result<Self, UnknownVariant> {
        match byte {
            1 => Ok(Self::Bind),
            2 => Ok(Self::Listen),
            3 => Ok(Self::Close),
            4 => Ok(Self::Connect),
            _ => Err(UnknownVariant(byte)),
        }
    }
}

impl TryFrom<u8> for Mechanism {
    type Error = UnknownVariant;

    fn try_from(byte: u8) -> Result<Self, UnknownVariant> {
        match byte {
            1 => Ok(Self::Fexit),
            2 => Ok(Self::Kprobe),
            3 => Ok(Self::Cgroup),
            4 => Ok(Self::Tracepoint),
            _ => Err(UnknownVariant(byte)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_decode_to_themselves() {
        for kind in [
            SocketEventKind::Bind,
            SocketEventKind::Listen,
            SocketEventKind::Close,
            SocketEventKind::Connect,
        ] {
            assert_eq!(SocketEventKind::try_from(kind as u8), Ok(kind));
        }
        for mechanism in
            [Mechanism::Fexit, Mechanism::Kprobe, Mechanism::Cgroup, Mechanism::Tracepoint]
        {
            assert_eq!(Mechanism::try_from(mechanism as u8), Ok(mechanism));
        }
        assert_eq!(SocketEventKind::try_from(0), Err(UnknownVariant(0)));
        assert_eq!(Mechanism::try_from(9), Err(UnknownVariant(9)));
    }

    #[test]
    fn errno_decides_the_result() {
        let cases = [
            (0, BindResult::Success),
            (98, BindResult::InUse),
            (13, BindResult::Denied),
            (1, BindResult::Denied),
            (99, BindResult::Error),
            (22, BindResult::Error),
        ];
        for (errno, result) in cases {
            assert_eq!(BindResult::from_errno(errno), result);
        }
    }
}
