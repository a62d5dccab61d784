//! The kernel side of ghostport: one file per hook, and what the hooks share.
//!
//! Nothing here ever drops, delays or alters a packet or a call.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod access;
mod bind_cgroup;
mod bind_fexit;
mod bind_kprobe;
mod bind_tracepoint;
mod bounds;
mod close_cgroup;
mod close_fentry;
mod close_kprobe;
mod close_tracepoint;
mod conversation;
mod global;
mod holders_iterator;
mod listen_tracepoint;
mod maps;
mod packet_view;
mod sock;
mod socket_call;
mod task;
mod tc_egress;
mod tc_ingress;
mod traffic;
mod xdp_ingress;

/// Kernel helpers that read kernel memory are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

/// The verifier refuses a program in which this could be reached.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
