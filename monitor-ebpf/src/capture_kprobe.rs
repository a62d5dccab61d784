//! Sockets that may capture packets, by kprobe where they are made and where they get their filter:
//! `packet_create` and `packet_bind` (`net/packet/af_packet.c`), `sk_attach_filter` and `sk_attach_bpf`
//! (`net/core/filter.c`), `raw_bind` (`net/ipv4/raw.c`), `xsk_bind` (`net/xdp/xsk.c`).
//!
//! Every kernel has them, apart from those whose part of the kernel is missing. The notice only makes
//! userspace look at the process; without it the next scan finds the socket.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_boot_ns},
    macros::kprobe,
    programs::ProbeContext,
};
use monitor_common::capture_notice::{CaptureNotice, NoticeWindow};

use crate::maps::{EVENTS, NOTICES, wakeup};

/// Entry of any of them.
#[kprobe]
fn capture_kprobe(_: ProbeContext) -> u32 {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if is_within_bound() {
        send(CaptureNotice { tgid, reserved: 0 });
    }
    0
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
