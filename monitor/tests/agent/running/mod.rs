//! The agent as its operator meets it: what it serves, what it refuses, and how it says so.

mod metrics;
mod refusals;
mod support;
mod work;
