//! What both sides of ghostport agree on: the packet parser, the records that travel through
//! maps and ring buffers, and the limits of those maps.
//!
//! The crate is `no_std`, has no dependency in the kernel, and knows nothing of aya: it can be
//! tested, fuzzed and measured like any other code.

#![no_std]

#[cfg(feature = "user")]
extern crate alloc;
#[cfg(any(test, feature = "user"))]
extern crate std;

pub mod addresses;
pub mod call_share;
pub mod call_sum;
pub mod capture_notice;
pub mod errors;
pub mod flat;
pub mod flow;
mod flow_word;
pub mod held_socket;
pub mod limits;
pub mod listeners;
pub mod offsets;
pub mod open_flight;
pub mod outbound;
pub mod packet;
pub mod ports;
pub mod rare;
pub mod sample;
#[cfg(feature = "user")]
pub mod sample_record;
pub mod sampling;
pub mod selftest;
pub mod socket_event;
#[cfg(feature = "user")]
pub mod socket_record;
pub mod sources;
mod unclassified;
