//! Netlink: requests, and the attributes of the messages that answer them. Names of interfaces and
//! of other objects are bytes: the kernel does not ask them to be UTF-8.

mod attributes;
mod message;
mod socket;

pub use self::{
    attributes::Attributes,
    message::{attribute, beginning, request},
    socket::{dump, get},
};
pub(crate) use self::{
    message::{append_attribute, message_kinds},
    socket::Socket,
};
