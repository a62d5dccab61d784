//! Tiny programs for tests and benchmarks: what our programs are measured against, and the
//! generator that turns live frames of `BPF_PROG_TEST_RUN` into line rate.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(dead_code, reason = "of the modules that count, only the packet path is used here")]

mod access;
mod bounds;
mod conversation;
mod global;
mod maps;
mod packet_view;
mod sock;
mod socket_call;
mod task;
mod traffic;

use aya_ebpf::{
    bindings::xdp_action,
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

use crate::{packet_view::XdpView, traffic::INGRESS};

/// Nothing at all: the floor of a measurement.
#[xdp]
fn xdp_pass(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Only drops.
#[xdp]
fn xdp_drop(_: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}

/// Does what `xdp_ingress` does, and drops: what counting costs, without the stack behind it.
#[xdp]
fn xdp_ingress_drop(context: XdpContext) -> u32 {
    traffic::count::<_, INGRESS>(XdpView::<false>(context.ctx));
    xdp_action::XDP_DROP
}

/// Sends live frames out of the interface that they claim to come from.
#[xdp]
fn xdp_tx(_: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

/// A filter that lets everything pass, and is not ours.
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
