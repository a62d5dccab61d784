//! Holders of sockets on watched ports, by the iterator over the open files of all tasks. It sees the
//! sockets of every network namespace, including namespaces without a process and without a name.
//!
//! `bpf_iter_task_file(struct bpf_iter_meta *meta, struct task_struct *task, u32 fd, struct file
//! *file)`, `kernel/bpf/task_iter.c`, Linux 5.8. It skips threads that share the descriptors of
//! their leader. Without it userspace searches `/proc`.
//!
//! Nothing runs until userspace reads from the iterator.

use core::ffi::c_void;

use aya_ebpf::{bindings::seq_file, helpers::generated::bpf_seq_write};
use monitor_common::{
    errors::KernelError,
    held_socket::{HeldSocket, flags},
    ports::WirePort,
    socket_event::known,
};

use crate::{
    access::{Access as _, Known, Probed},
    maps::{count_error, has_listeners, is_watched},
    sock::{self, IpWords, Members, Sock, offset},
    task::sock_of_file,
};

/// `struct bpf_iter__task_file`.
#[repr(C)]
struct OpenFile {
    meta: *const Meta,
    /// Null after the last file, as is `file`.
    task: *const c_void,
    _descriptor: u32,
    file: *const c_void,
}

/// The head of `struct bpf_iter_meta`, `include/linux/bpf.h`.
#[repr(C)]
struct Meta {
    output: *mut seq_file,
}

/// Called for every open file; 0 continues with the next.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn holders_iterator(context: *const OpenFile) -> i32 {
    write_watched(context);
    0
}

#[inline(always)]
fn write_watched(context: *const OpenFile) -> Option<()> {
    // SAFETY: the context of this iterator.
    let (task, file) = unsafe {
        ((&raw const (*context).task).read_volatile(), (&raw const (*context).file).read_volatile())
    };
    if task.is_null() || file.is_null() {
        return None;
    }
    let sk = sock_of_file(file)?;
    let local_port = sock::port_of::<Probed>(sk)?;
    let peer_port = WirePort(Probed::member(sk, offset!(sock_dport))?);
    // A socket that was reset has released its port and still has its peer.
    if local_port == 0 {
        return None;
    }
    let local_wire = WirePort::of(local_port);
    let mut members = Members::<Probed>::of(sk);
    let is_of_watched = is_watched(local_wire) || is_watched(peer_port);
    if !(is_of_watched || has_listeners(local_wire) && members.is_listener()) {
        return None;
    }
    let sock = members.read()?;
    let (peer_address, peer_is_known): (IpWords, u32) = if sock.family == 4 {
        let address: Known<u32> = Probed::known(sk, offset!(sock_daddr));
        ([address.value, 0, 0, 0], address.flag(1))
    } else {
        let address: Known<IpWords> = Probed::known(sk, offset!(sock_v6_daddr));
        (address.value, address.flag(1))
    };
    let leader = Probed::known::<usize>(task, offset!(task_group_leader)).value as *const c_void;
    let start_time: Known<u64> = Probed::known(leader, offset!(task_start_boottime));
    let tgid: Known<u32> = Probed::known(task, offset!(task_tgid));
    let inode = Probed::known::<usize>(file, offset!(file_inode)).value as *const c_void;
    // A word wide; sockets get 32-bit numbers (`get_next_ino` in `fs/inode.c`).
    let inode: Known<u64> = Probed::known(inode, offset!(inode_number));
    let state: Known<u8> = Probed::known(sk, offset!(sock_state));
    let known = peer_is_known & start_time.flag(1) & tgid.flag(1) & inode.flag(1) & state.flag(1);
    if known == 0 || sock.known & OF_SOCK != OF_SOCK {
        count_error(KernelError::StructUnreadable);
        return None;
    }
    let record = HeldSocket {
        start_time_ns: start_time.value,
        tgid: tgid.value,
        socket_inode: inode.value as u32,
        netns_inode: sock.netns_inode,
        local_port,
        peer_port: peer_port.number(),
        local_address: bytemuck::cast(sock.address),
        peer_address: bytemuck::cast(peer_address),
        protocol: sock.protocol.ip_number(),
        family: sock.family,
        state: state.value,
        flags: flags_of(&members, &sock),
        interface: sock.interface,
    };
    // SAFETY: the context is of this iterator, and the record is initialized to its last byte. If the
    // record does not fit, the kernel returns what it has to the reader and calls again for this file.
    unsafe {
        let meta = (&raw const (*context).meta).read_volatile();
        let output = (&raw const (*meta).output).read_volatile();
        bpf_seq_write(output, (&raw const record).cast(), size_of::<HeldSocket>() as u32);
    }
    Some(())
}

#[inline(always)]
fn flags_of(members: &Members<Probed>, sock: &Sock) -> u8 {
    let named = if members.has_named_port() == Some(true) { flags::NAMED_PORT } else { 0 };
    let v6_only = if sock.known & known::V6_ONLY != 0 { flags::V6_ONLY } else { 0 };
    named | v6_only
}

/// The fields that [`Members::read`] must have found.
const OF_SOCK: u32 = known::FAMILY | known::ADDRESS | known::NETNS;
