//! Where the kernel side finds what it reads from kernel structs.
//!
//! rustc emits no CO-RE relocations, so userspace takes the offsets from the running kernel's own
//! BTF and injects them before load. [`MISSING`] costs a field, never the load.

/// An offset that the kernel's BTF did not have.
pub const MISSING: u32 = u32::MAX;

/// What an offset leads to.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Where it is to be found, as `struct.member`: of several the first that the kernel has. ` bits`
    /// behind a path asks for a bit field, and for its offset in bits.
    pub paths: &'static [&'static str],
    /// What the kernel side reads there: bytes, or bits of a bit field. A member of another size is
    /// another member.
    pub size: u32,
}

/// Declares [`Offsets`] together with size and C path of every member, or several paths where
/// kernels differ.
macro_rules! offsets {
    ($($(#[$doc:meta])* $field:ident: $size:literal = $($path:literal)|+,)+) => {
        /// Byte offsets of struct members in the running kernel.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
        #[repr(C)]
        pub struct Offsets {
            $($(#[$doc])* pub $field: u32,)+
        }

        impl Offsets {
            /// No offset known.
            pub const MISSING: Self = Self { $($field: MISSING,)+ };

            /// What every offset leads to, in the order of the fields.
            pub const MEMBERS: &'static [Member] =
                &[$(Member { paths: &[$($path),+], size: $size },)+];
        }
    };
}

offsets! {
    /// Leader of the thread group.
    task_group_leader: 8 = "task_struct.group_leader",
    /// Name of the thread.
    task_comm: 16 = "task_struct.comm",
    /// Effective credentials.
    task_cred: 8 = "task_struct.cred",
    /// Effective user id.
    cred_euid: 4 = "cred.euid",
    /// The task that is notified when the task ends; tracers do not change it.
    task_real_parent: 8 = "task_struct.real_parent",
    /// Thread group, in the initial pid namespace.
    task_tgid: 4 = "task_struct.tgid",
    /// When the task was made, by the clock that goes on while the machine sleeps; renamed in 5.5.
    task_start_boottime: 8 = "task_struct.start_boottime" | "task_struct.real_start_time",
    /// Address space, null for a kernel thread.
    task_mm: 8 = "task_struct.mm",
    /// First byte of the arguments, in user memory.
    mm_arg_start: 8 = "mm_struct.arg_start",
    /// Behind the last one.
    mm_arg_end: 8 = "mm_struct.arg_end",
    /// The file that is executed.
    mm_exe_file: 8 = "mm_struct.exe_file",
    /// User namespace of credentials.
    cred_user_ns: 8 = "cred.user_ns",
    /// Inode of the namespace.
    user_ns_inum: 4 = "user_namespace.ns.inum",
    /// The other namespaces of a task, null for one that ends.
    task_nsproxy: 8 = "task_struct.nsproxy",
    /// Mount namespace.
    nsproxy_mnt_ns: 8 = "nsproxy.mnt_ns",
    /// Inode of the namespace.
    mnt_ns_inum: 4 = "mnt_namespace.ns.inum",
    /// Table of open files.
    task_files: 8 = "task_struct.files",
    /// Array behind the table of open files.
    files_fdt: 8 = "files_struct.fdt",
    /// Length of that array.
    fdtable_max_fds: 4 = "fdtable.max_fds",
    /// The array itself.
    fdtable_fd: 8 = "fdtable.fd",
    /// Inode of an open file.
    file_inode: 8 = "file.f_inode",
    /// What the file's type made of it: a `struct socket` for sockets.
    file_private_data: 8 = "file.private_data",
    /// Type and permissions.
    inode_mode: 2 = "inode.i_mode",
    /// Number of the inode.
    inode_number: 8 = "inode.i_ino",
    /// Which of the files that had this number.
    inode_generation: 4 = "inode.i_generation",
    /// File system of the inode.
    inode_sb: 8 = "inode.i_sb",
    /// Device of a file system, as `/proc/PID/mountinfo` has it.
    sb_dev: 4 = "super_block.s_dev",
    /// The protocol's part of a socket.
    socket_sk: 8 = "socket.sk",
    /// Address family.
    sock_family: 2 = "sock.__sk_common.skc_family",
    /// Local port, host byte order.
    sock_num: 2 = "sock.__sk_common.skc_num",
    /// Local IPv4 address.
    sock_rcv_saddr: 4 = "sock.__sk_common.skc_rcv_saddr",
    /// Local IPv6 address.
    sock_v6_rcv_saddr: 16 = "sock.__sk_common.skc_v6_rcv_saddr",
    /// Remote IPv4 address.
    sock_daddr: 4 = "sock.__sk_common.skc_daddr",
    /// Remote IPv6 address.
    sock_v6_daddr: 16 = "sock.__sk_common.skc_v6_daddr",
    /// Network namespace.
    sock_net: 8 = "sock.__sk_common.skc_net.net",
    /// Remote port, network byte order.
    sock_dport: 2 = "sock.__sk_common.skc_dport",
    /// Index of the interface that it is bound to, 0 for none.
    sock_bound_dev_if: 4 = "sock.__sk_common.skc_bound_dev_if",
    /// State of the connection, `TCP_LISTEN` among them.
    sock_state: 1 = "sock.__sk_common.skc_state",
    /// Transport protocol.
    sock_protocol: 2 = "sock.sk_protocol",
    /// Stream, datagram or raw.
    sock_type: 2 = "sock.sk_type",
    /// What the program has fixed, `SOCK_BINDPORT_LOCK` among it; in bits, because it is a field of
    /// four of them.
    sock_userlocks_bits: 4 = "sock.sk_userlocks bits",
    /// Whether it belongs to the kernel, a bit field.
    sock_kernel_bits: 1 = "sock.sk_kern_sock bits",
    /// What an upper layer protocol has of a TCP socket; of the subflow of an MPTCP socket its context.
    socket_ulp_data: 8 = "inet_connection_sock.icsk_ulp_data",
    /// Local port in network byte order, which stays when the socket loses the port.
    socket_source_port: 2 = "inet_sock.inet_sport",
    /// Whether an IPv6 socket does not accept IPv4, a bit field.
    sock_v6_only_bits: 1 = "sock.__sk_common.skc_ipv6only bits",
    /// The socket through which a program holds it.
    sock_socket: 8 = "sock.sk_socket",
    /// Number of a socket's inode, from the start of the `struct socket` that the inode follows.
    socket_inode: 8 = "socket_alloc.vfs_inode.i_ino",
    /// Inode of the namespace.
    net_inum: 4 = "net.ns.inum",
}

const _: () = assert!(size_of::<Offsets>() == Offsets::MEMBERS.len() * size_of::<u32>());
