//! The commands of the program, one folder each. Nothing but `main.rs` uses them.

pub mod check;
pub mod doctor;
pub mod events;
pub mod explain;
pub mod identify;
pub mod selftest;
pub mod top;
