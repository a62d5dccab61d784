//! The agent's HTTP server.
//!
//! | route | meaning |
//! | --- | --- |
//! | `GET /metrics` | text exposition 0.0.4 or OpenMetrics 1.0, read from the kernel at that moment |
//! | `GET /healthz` | 200: the agent answers |
//! | `GET /readyz` | 200 once every hook has been tried, 503 before, while a hook that something else detached is not attached again, and while events wait behind one that is stuck |
//! | `GET /runbook/NAME` | what to do about an alert |
//! | `GET /` | the live page, where [`guard`] allows it |
//! | `GET /api/v1/…` | details, where [`guard`] allows them |
//!
//! The first four are open to every client that reaches the listener, unless `web.config_file`
//! demands a password or a certificate. The server has a thread of its own (`server.rs`): TLS,
//! passwords and files delay no other work of the agent. Each request has a time limit
//! (`connection.rs`), and connections are shared fairly between clients (`slots.rs`): idle ones make
//! room for others. Those of the Unix socket have slots of their own. Streams of events get a quarter
//! of the connections at most.

mod activity;
mod administrator;
mod api;
mod client;
mod connection;
pub mod guard;
mod listener;
mod nonce;
mod page;
mod routes;
mod runbook;
mod security;
mod server;
mod slots;
mod source;
mod table;

pub use self::{
    listener::{BindError, Listener, bind},
    routes::State,
    security::{PreparedRules, Security, SecurityError},
    server::{Server, serve},
    source::{SharedSource, Source, TalkerCounts},
    table::{Access, Parameter, ROUTES, Route},
};

#[cfg(test)]
mod tests;
