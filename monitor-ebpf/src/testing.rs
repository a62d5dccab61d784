//! Small programs for tests and benchmarks: baselines for measurements, and the generator that sends
//! the live frames of `BPF_PROG_TEST_RUN` at line rate.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(dead_code, reason = "the shared modules are used for their packet path alone")]

mod access;
mod addresses;
mod bounds;
mod call_share;
mod call_sum;
mod control;
mod conversation;
mod counter;
mod ends;
mod floor;
mod maps;
mod network;
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
mod traffic;

use aya_ebpf::{
    bindings::xdp_action,
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

use crate::{packet_entry::packet_program, packet_view::XdpView};

/// Passes: what a measurement is over.
#[xdp]
fn xdp_pass(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Drops.
#[xdp]
fn xdp_drop(_: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}

packet_program! {
    /// Counts as `xdp_ingress` does, and drops: the cost of counting without the stack behind it.
    #[xdp]
    fn xdp_ingress_drop(XdpContext) -> u32 = xdp_action::XDP_DROP;
    type XdpIngressDrop = XdpView<false>, xdp_md, Ingress;
}

/// Sends live frames out of the interface that they claim to come from.
#[xdp]
fn xdp_tx(_: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

/// A filter that passes everything, as of another program on the host.
#[classifier]
fn tc_foreign(_: TcContext) -> i32 {
    -1
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
