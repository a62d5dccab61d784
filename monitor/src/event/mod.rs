//! Events: what happened to a socket, a port, a hook or the agent.
//!
//! An [`Event`] has a time, a host and an [`EventBody`], which has one variant for each kind. It is
//! encoded once, as one JSON object on one line ([`EncodedEvent`]); the store, the stream and the
//! sinks share those bytes. Field names are those of the OpenTelemetry semantic conventions where
//! these have one, and begin with `ghostport.` otherwise. A field whose value is unknown is absent.

pub mod broadcast;

mod body;
mod caller;
mod context;
mod encode;
mod fields;
#[cfg(test)]
mod golden;
mod grading;
mod groups;
mod held_by;
mod listeners;
mod listening;
mod losses;
mod name;
mod record;
mod repeats;
mod samples;
mod severity;
mod socket;
mod sources;
mod techniques;
#[cfg(test)]
mod tests;

pub use self::{
    body::{
        Answered, Awakened, AwakenedBy, Bind, Call, Captured, Connect, Conversations, Event,
        EventBody, ExecutableFound, FailedBind, HookOutcome, Identified, Selftest, Summary,
        UnexpectedOwner,
    },
    caller::{AncestorFields, CallerFields, IdentityFields},
    context::EventContext,
    encode::{EncodedEvent, JsonLine, SCHEMA},
    fields::{FIELDS, Field, meaning},
    held_by::HeldBy,
    listening::{ListenerNews, Listening, Listens, SeenListener},
    losses::EventLosses,
    name::EventName,
    repeats::Repeats,
    samples::samples,
    severity::Severity,
    socket::{Errno, SocketFields},
};
