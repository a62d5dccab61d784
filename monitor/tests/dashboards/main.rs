//! Dashboards, rules and what collects events, with the real servers.

mod alerts;
mod collectors;
mod day;
mod fleet;
mod hour;
mod messages;
mod one_message;
mod rules;
mod scaling_out;
mod support;
