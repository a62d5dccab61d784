//! JSON Schemas (2020-12) of what the program writes and reads. Those of events and of the configuration
//! are made from the tables that the reference is made from, that of `check` from its types.

mod check;
mod config;
mod event;
#[cfg(test)]
mod tests;
mod values;

pub use self::{
    check::{CHECK_SCHEMA, check},
    config::config,
    event::event,
};
