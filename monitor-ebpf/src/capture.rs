//! Sockets that may capture packets, where they are made and where they get their filter: by trampoline
//! on the entry of `packet_create` and `packet_bind` (`net/packet/af_packet.c`), `sk_attach_filter` and
//! `sk_attach_bpf` (`net/core/filter.c`), `raw_bind` (`net/ipv4/raw.c`) and `xsk_bind`
//! (`net/xdp/xsk.c`), or by kprobe where a function is one of a module or there are no trampolines.
//!
//! Every kernel has them, apart from those whose part of the kernel is missing. Where neither can be
//! attached, the tracepoints of `socket(2)` and `setsockopt(2)` see the same calls; they are used where
//! the binds are observed by tracepoints anyway, because the first one slows every system call down.
//!
//! The notice only makes userspace look at the process; without it the next scan finds the socket.

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_boot_ns},
    macros::{fentry, kprobe, tracepoint},
    programs::{FEntryContext, ProbeContext, TracePointContext},
};
use monitor_common::capture_notice::{CaptureNotice, NoticeWindow};

use crate::maps::{EVENTS, NOTICES, wakeup};

/// Entry of any of them.
#[kprobe]
fn capture_kprobe(_: ProbeContext) -> u32 {
    notice();
    0
}

/// Entry of `packet_create`.
#[fentry(function = "packet_create")]
fn capture_fentry_create(_: FEntryContext) -> u32 {
    notice();
    0
}

/// Entry of `packet_bind`.
#[fentry(function = "packet_bind")]
fn capture_fentry_bind(_: FEntryContext) -> u32 {
    notice();
    0
}

/// Entry of `sk_attach_filter`.
#[fentry(function = "sk_attach_filter")]
fn capture_fentry_filter(_: FEntryContext) -> u32 {
    notice();
    0
}

/// Entry of `sk_attach_bpf`.
#[fentry(function = "sk_attach_bpf")]
fn capture_fentry_bpf(_: FEntryContext) -> u32 {
    notice();
    0
}

/// Entry of `raw_bind`.
#[fentry(function = "raw_bind")]
fn capture_fentry_raw(_: FEntryContext) -> u32 {
    notice();
    0
}

/// Entry of `xsk_bind`.
#[fentry(function = "xsk_bind")]
fn capture_fentry_xsk(_: FEntryContext) -> u32 {
    notice();
    0
}

/// `syscalls:sys_enter_socket`.
#[tracepoint]
fn capture_tracepoint_socket(context: TracePointContext) -> u32 {
    const AF_PACKET: u64 = 17;
    const AF_XDP: u64 = 44;
    const SOCK_RAW: u64 = 3;
    /// `SOCK_TYPE_MASK`, without the flags.
    const TYPE: u64 = 0xf;
    let (family, kind) = (argument(&context, 0), argument(&context, 1));
    if matches!(family, AF_PACKET | AF_XDP) || kind & TYPE == SOCK_RAW {
        notice();
    }
    0
}

/// `syscalls:sys_enter_setsockopt`.
#[tracepoint]
fn capture_tracepoint_setsockopt(context: TracePointContext) -> u32 {
    const SOL_SOCKET: u64 = 1;
    const SO_ATTACH_FILTER: u64 = 26;
    const SO_ATTACH_BPF: u64 = 50;
    let (level, option) = (argument(&context, 1), argument(&context, 2));
    if level == SOL_SOCKET && matches!(option, SO_ATTACH_FILTER | SO_ATTACH_BPF) {
        notice();
    }
    0
}

/// An argument of a system call; `events/syscalls/sys_enter_socket/format` of tracefs.
#[inline(always)]
fn argument(context: &TracePointContext, index: usize) -> u64 {
    const FIRST: usize = 16;
    // SAFETY: the record of the tracepoint has a word for each argument.
    unsafe { context.as_ptr().byte_add(FIRST + 8 * index).cast::<u64>().read_volatile() }
}

#[inline(always)]
fn notice() {
    let pid_tgid = bpf_get_current_pid_tgid();
    if is_within_bound() {
        send(CaptureNotice { tgid: (pid_tgid >> 32) as u32, pid: pid_tgid as u32 });
    }
}

#[inline(always)]
fn is_within_bound() -> bool {
    let Some(window) = NOTICES.get_ptr_mut(0) else { return false };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    // SAFETY: a map value; a word that two CPUs write at once is one or the other.
    let (start, count) = unsafe { (&raw mut (*window).start_ns, &raw mut (*window).count) };
    // SAFETY: as above.
    unsafe {
        if now.wrapping_sub(start.read_volatile()) > NoticeWindow::LENGTH_NS {
            start.write_volatile(now);
            count.write_volatile(0);
        }
        let sent = count.read_volatile();
        if sent >= NoticeWindow::MOST {
            return false;
        }
        count.write_volatile(sent + 1);
    }
    true
}

/// A notice that finds no room is not missed: the next scan finds the socket.
#[inline(always)]
fn send(notice: CaptureNotice) {
    if let Some(mut entry) = EVENTS.reserve_untyped::<CaptureNotice>(0) {
        entry.write(notice);
        entry.submit(wakeup(&EVENTS, size_of::<CaptureNotice>()));
    }
}
