//! The states of a port, seen from outside: metrics, events, API and `check` report them, and they
//! survive an agent that is killed.

mod memory;
mod programs;
mod states;
mod support;
