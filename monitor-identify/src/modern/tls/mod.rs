//! TLS, DTLS and SSL.

mod datagram;
mod hello;
mod record;
mod stream;

pub(crate) use self::{
    datagram::dtls,
    stream::{ssl2, tls},
};
