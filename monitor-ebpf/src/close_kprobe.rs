//! Released ports, by kprobe on the function of [`crate::close_fentry`].

use core::ffi::c_void;

use aya_ebpf::{macros::kprobe, programs::ProbeContext};
use monitor_common::socket_event::Mechanism;

use crate::{access::Probed, close_fentry::on_release};

/// Entry of `inet_release`.
#[kprobe]
fn close_kprobe(context: ProbeContext) -> u32 {
    let socket: Option<*const c_void> = context.arg(0);
    if let Some(socket) = socket {
        on_release::<Probed, _>(&context, Mechanism::Kprobe, socket);
    }
    0
}
