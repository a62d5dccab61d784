//! The traffic programs themselves, run by `BPF_PROG_TEST_RUN` on packets of every shape: what they
//! return, that they leave the packet as it was, and what they count, down to the last counter.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod buffers;
mod ports;
mod shapes;
mod support;
