//! The server over real connections.

mod connections;
mod details;
mod routes;
mod streams;
mod support;
