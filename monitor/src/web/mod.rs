//! The agent's HTTP server.
//!
//! | route | meaning |
//! | --- | --- |
//! | `GET /metrics` | text exposition 0.0.4, read from the kernel at that moment |
//! | `GET /healthz` | 200: the agent answers |
//! | `GET /readyz` | 200 once every hook has been tried, 503 before, while a hook that something else detached is not attached again, and while events wait behind one that is stuck |
//! | `GET /runbook/NAME` | what to do about an alert |
//! | `GET /` | the live page, where [`guard`] allows it |
//! | `GET /api/v1/…` | details, where [`guard`] allows them |
//!
//! The first four are open to every client that reaches the listener, unless `web.config_file`
//! demands a password or a certificate. Each request has a time limit, and connections are
//! limited (`connection.rs`): clients that hold all of them delay others, and cost the host no more.
//! Streams of events get a quarter of the connections at most.

mod administrator;
mod api;
mod connection;
pub mod guard;
mod listener;
mod nonce;
mod page;
mod routes;
mod runbook;
mod security;
mod server;
mod source;
mod table;

pub use self::{
    listener::{BindError, Listener, bind},
    routes::State,
    security::{PreparedRules, Security, SecurityError},
    server::serve,
    source::{SharedSource, Source, TalkerCounts},
    table::{Access, Parameter, ROUTES, Route},
};

#[cfg(test)]
mod tests;
