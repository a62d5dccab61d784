//! The agent with few privileges, and on kernels that are configured to refuse it. The agent uses the
//! best set of hooks that works there, and `doctor` says what is missing and how to get it.
//!
//! Tests that are ignored want a machine that was started in a certain way; `cargo xtask vm` has
//! one for each.

mod boot;
mod capabilities;
mod doctor;
mod host;
mod ordinary_user;
mod support;
