//! One script of socket calls, every mechanism: the events are the same, apart from the differences
//! that `docs/operate/socket-calls.md` declares, and those are there.

mod comparison;
mod script;
