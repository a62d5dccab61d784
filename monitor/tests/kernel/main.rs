//! Hooks and packets: what the kernel side counts and reports, and at what cost.

mod attachment;
mod bind_cost;
mod clsact;
mod flood;
mod interfaces;
mod line_rate;
mod listeners;
mod many_ports;
mod memory;
mod open_sockets;
mod outbound;
mod packet_programs;
mod payloads;
mod places;
mod scenario;
mod sides;
mod socket_calls;
mod traffic;
