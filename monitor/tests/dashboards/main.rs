//! Dashboards, rules and what collects events, with the real servers.

mod alerts;
mod collectors;
mod fleet;
mod hour;
mod rules;
mod scaling_out;
