//! The kernel side of ghostport: one file per hook, and the modules that hooks share.
//!
//! Nothing here drops, delays or alters a packet or a call.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod access;
mod addresses;
mod bind_cgroup;
mod bind_fexit;
mod bind_kprobe;
mod bind_tracepoint;
mod bounds;
mod call_share;
mod call_sum;
mod capture;
mod close_cgroup;
mod close_fentry;
mod close_kprobe;
mod close_tracepoint;
mod connect_cgroup;
mod connect_kprobe;
mod control;
mod conversation;
mod counter;
mod ends;
mod holders_iterator;
mod listen_fexit;
mod listen_kprobe;
mod listen_tracepoint;
mod maps;
mod network;
mod outbound;
mod packet_entry;
mod packet_program;
mod packet_view;
mod rare_calls;
mod rare_traffic;
mod remote_flow;
mod remote_flows;
mod sampling;
mod selftest;
mod slots;
mod sock;
mod sockaddr;
mod socket_call;
mod sources;
mod straight;
mod task;
mod tc;
mod traffic;
mod xdp_ingress;

/// Kernel helpers that read kernel memory are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

/// Unreachable: the verifier rejects a program that could reach it.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
