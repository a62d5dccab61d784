//! TCP sockets that begin to listen, by kretprobe on the function of [`crate::listen_fexit`].

use aya_ebpf::{macros::kretprobe, programs::RetProbeContext};
use monitor_common::socket_event::Mechanism;

use crate::listen_tracepoint::finish;

/// Return from `inet_csk_listen_start`.
#[kretprobe]
fn listen_kprobe_return(context: RetProbeContext) -> u32 {
    finish(&context, Mechanism::Kprobe, context.ret());
    0
}
