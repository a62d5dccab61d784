//! JSON Schemas (2020-12) of what the program writes and reads. Those of events and of the configuration
//! are made from the tables that the reference is made from, those of `check` and `report` from their types.

mod check;
mod config;
mod event;
mod report;
#[cfg(test)]
mod tests;
mod values;

pub use self::{
    check::{CHECK_SCHEMA, check},
    config::config,
    event::event,
    report::report,
};
