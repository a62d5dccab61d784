//! The commands of the program, one file or folder each, with a function `run` that returns the exit
//! code. Only `main.rs` imports them, and no command imports another one.

pub mod check;
pub mod completions;
pub mod config;
pub mod detach;
pub mod doctor;
pub mod events;
pub mod explain;
pub mod identify;
pub mod learn;
pub mod report;
pub mod run;
pub mod schema;
pub mod selftest;
pub mod top;
