//! Packets are counted exactly: every shape, every mode of attachment, super-packets, line rate.

mod flood;
mod ports;
mod restarts;
mod shapes;
mod support;
mod transfers;
