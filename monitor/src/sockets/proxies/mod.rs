//! Programs that hold a port for a container: where they pass connections on to, and who is there.
//!
//! No engine is asked. The command line of a proxy says where to, or in which network namespace the
//! container is.

mod command_line;
mod find;
mod flags;
mod pasta;
mod proxy;

pub use self::{
    command_line::target,
    find::{Forwarding, find},
    proxy::Proxy,
};
