//! An event as a value: each kind has the fields that belong to it, and no others.

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use jiff::Timestamp;
use monitor_common::{
    flow::Direction,
    socket_event::{BindResult, Mechanism},
};
use monitor_identify::Identification;
use monitor_kernel::hooks::{Hook, HookMechanism};
use monitor_ledger::Wake;

use super::{
    caller::CallerFields,
    context::EventContext,
    name::EventName,
    socket::{Errno, SocketFields},
};
use crate::{
    classification::Kept,
    sockets::{CaptureKind, Reach},
};

/// Something that happened on this host.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Time of day at which it happened.
    pub time: Timestamp,
    /// Name of the host.
    pub host_name: String,
    /// What happened.
    pub body: EventBody,
}

/// What happened, by kind.
#[derive(Clone, Debug, PartialEq)]
pub enum EventBody {
    /// A socket was bound to a watched port.
    Bind(Bind),
    /// A bind to a watched port was refused.
    BindFailed(FailedBind),
    /// A TCP socket on a watched port began to listen.
    Listen(Call),
    /// A socket on a watched port was closed.
    Close(Call),
    /// Something happened at a port that was dormant.
    Awakened(Awakened),
    /// A port was quiet for long enough to count as dormant.
    Dormant(SocketFields),
    /// Packets were answered from a watched port that no socket of this host holds.
    Answered(Answered),
    /// A socket takes packets of watched ports without holding the ports.
    Captured(Captured),
    /// A payload or a connection attempt was identified.
    Identified(Identified),
    /// A process that the configuration does not expect bound a watched port.
    UnexpectedOwner(UnexpectedOwner),
    /// The agent started.
    AgentStarted {
        /// Version of the agent.
        version: &'static str,
    },
    /// The agent stops.
    AgentStopped {
        /// Why.
        reason: String,
    },
    /// A hook is served by another mechanism than before, or by none.
    HookChanged(HookChanged),
}

/// A call on a socket.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The socket.
    pub socket: SocketFields,
    /// The process that made the call; `None` if it is unknown or there was none.
    pub caller: Option<CallerFields>,
    /// Kind of hook that saw the call.
    pub mechanism: Mechanism,
}

/// A bind.
#[derive(Clone, Debug, PartialEq)]
pub struct Bind {
    /// The call.
    pub call: Call,
    /// Whether the configuration expects the caller on this port; `None` if the port is not watched.
    pub expected: Option<bool>,
}

/// A bind that was refused.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedBind {
    /// The bind.
    pub bind: Bind,
    /// Its error number.
    pub errno: NonZeroU32,
}

/// The end of dormancy.
#[derive(Clone, Debug, PartialEq)]
pub struct Awakened {
    /// What is known of the socket.
    pub by: AwakenedBy,
    /// What awakened the port.
    pub wake: Wake,
    /// How long the port was dormant.
    pub dormant_for: Duration,
}

/// What is known of the socket that awakened a port.
#[derive(Clone, Debug, PartialEq)]
pub enum AwakenedBy {
    /// Its bind.
    Bind(Bind),
    /// Its bind, which was refused.
    FailedBind(FailedBind),
    /// Another call: its bind was not seen.
    Call(Call),
    /// Port and protocol alone, as for a packet.
    Port(SocketFields),
}

/// Answers from a port that no socket of this host holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// Port and protocol.
    pub socket: SocketFields,
    /// How many answers there were: accepted connections or datagrams.
    pub answers: u64,
    /// Where the answers come from.
    pub reach: Reach,
}

/// A socket that takes packets of watched ports without holding the ports.
#[derive(Clone, Debug, PartialEq)]
pub struct Captured {
    /// Protocol, service and namespace, as far as the packets have only one.
    pub socket: SocketFields,
    /// The watched ports that its filter is about, in ascending order; empty for a socket without a
    /// filter and for a filter that is not known.
    pub ports: Vec<u16>,
    /// Kind of socket.
    pub kind: CaptureKind,
    /// What it takes, in words.
    pub filter: String,
    /// Whether it takes packets of watched ports and no others.
    pub is_targeted: bool,
    /// A process that holds the socket, if one is known.
    pub holder: Option<CallerFields>,
}

/// The outcome of an identification.
#[derive(Clone, Debug, PartialEq)]
pub struct Identified {
    /// This host's end.
    pub socket: SocketFields,
    /// The watched port, which may be the peer's.
    pub port: u16,
    /// The other end.
    pub peer: SocketAddr,
    /// Name of the interface that the packet crossed.
    pub interface: Option<String>,
    /// Which way the packet went.
    pub direction: Direction,
    /// What it is.
    pub identification: Identification,
    /// Bytes of the payload on the wire; `None` for a connection attempt.
    pub payload_size: Option<usize>,
    /// What the configuration keeps of the payload.
    pub kept: Option<Kept>,
}

/// An owner of a port that the configuration does not expect.
#[derive(Clone, Debug, PartialEq)]
pub enum UnexpectedOwner {
    /// It bound the port.
    Bound(Call),
    /// Its socket was found open. No bind of it was seen.
    FoundOpen {
        /// The socket.
        socket: SocketFields,
        /// A process that holds the socket, if one is known.
        holder: Option<CallerFields>,
    },
}

/// Another state of a hook.
#[derive(Clone, Debug, PartialEq)]
pub struct HookChanged {
    /// The hook.
    pub hook: Hook,
    /// The interface, for the traffic hooks.
    pub interface: Option<String>,
    /// The mechanism that serves the hook now; `None` if it is not attached.
    pub mechanism: Option<HookMechanism>,
    /// Why better mechanisms were rejected.
    pub reason: Option<String>,
}

impl Event {
    /// An event of the host in `context`.
    pub fn new(time: Timestamp, body: EventBody, context: &EventContext) -> Self {
        Self { time, host_name: context.host_name.clone(), body }
    }

    /// Its kind.
    pub const fn name(&self) -> EventName {
        match self.body {
            EventBody::Bind(_) => EventName::Bind,
            EventBody::BindFailed(_) => EventName::BindFailed,
            EventBody::Listen(_) => EventName::Listen,
            EventBody::Close(_) => EventName::Close,
            EventBody::Awakened(_) => EventName::Awakened,
            EventBody::Dormant(_) => EventName::Dormant,
            EventBody::Answered(_) => EventName::Answered,
            EventBody::Captured(_) => EventName::Captured,
            EventBody::Identified(_) => EventName::Identified,
            EventBody::UnexpectedOwner(_) => EventName::UnexpectedOwner,
            EventBody::AgentStarted { .. } => EventName::AgentStarted,
            EventBody::AgentStopped { .. } => EventName::AgentStopped,
            EventBody::HookChanged(_) => EventName::HookChanged,
        }
    }

    /// The watched port that it is about.
    pub fn port(&self) -> Option<u16> {
        match &self.body {
            EventBody::Identified(identified) => Some(identified.port),
            EventBody::Captured(captured) => captured.port(),
            _ => self.socket()?.local_port,
        }
    }

    /// The socket that it is about.
    pub const fn socket(&self) -> Option<&SocketFields> {
        match &self.body {
            EventBody::Awakened(awakened) => Some(awakened.by.socket()),
            EventBody::Dormant(socket)
            | EventBody::UnexpectedOwner(UnexpectedOwner::FoundOpen { socket, .. }) => Some(socket),
            EventBody::Answered(answered) => Some(&answered.socket),
            EventBody::Captured(captured) => Some(&captured.socket),
            EventBody::Identified(identified) => Some(&identified.socket),
            _ => match self.call() {
                Some(call) => Some(&call.socket),
                None => None,
            },
        }
    }

    /// The process that made the call or holds the socket.
    pub const fn caller(&self) -> Option<&CallerFields> {
        match &self.body {
            EventBody::UnexpectedOwner(UnexpectedOwner::FoundOpen { holder, .. }) => {
                holder.as_ref()
            }
            EventBody::Captured(captured) => captured.holder.as_ref(),
            _ => match self.call() {
                Some(call) => call.caller.as_ref(),
                None => None,
            },
        }
    }

    /// The call that it is about.
    pub const fn call(&self) -> Option<&Call> {
        match &self.body {
            EventBody::Bind(bind) => Some(&bind.call),
            EventBody::BindFailed(failed) => Some(&failed.bind.call),
            EventBody::Listen(call)
            | EventBody::Close(call)
            | EventBody::UnexpectedOwner(UnexpectedOwner::Bound(call)) => Some(call),
            EventBody::Awakened(awakened) => awakened.by.call(),
            _ => None,
        }
    }
}

impl Captured {
    /// The watched port, if the filter is about one.
    pub const fn port(&self) -> Option<u16> {
        match self.ports.as_slice() {
            [port] => Some(*port),
            _ => None,
        }
    }
}

impl FailedBind {
    /// How it failed.
    pub const fn result(&self) -> BindResult {
        BindResult::from_errno(self.errno.get())
    }

    /// Its error.
    pub fn error(&self) -> Errno {
        Errno::from(self.errno.get())
    }
}

impl AwakenedBy {
    const fn call(&self) -> Option<&Call> {
        match self {
            Self::Bind(bind) => Some(&bind.call),
            Self::FailedBind(failed) => Some(&failed.bind.call),
            Self::Call(call) => Some(call),
            Self::Port(_) => None,
        }
    }

    const fn socket(&self) -> &SocketFields {
        match self {
            Self::Bind(bind) => &bind.call.socket,
            Self::FailedBind(failed) => &failed.bind.call.socket,
            Self::Call(call) => &call.socket,
            Self::Port(socket) => socket,
        }
    }

    pub(super) const fn socket_mut(&mut self) -> &mut SocketFields {
        match self {
            Self::Bind(bind) => &mut bind.call.socket,
            Self::FailedBind(failed) => &mut failed.bind.call.socket,
            Self::Call(call) => &mut call.socket,
            Self::Port(socket) => socket,
        }
    }
}
