//! An event as a value: each kind has the fields that belong to it, and no others.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use monitor_common::{
    flow::Direction,
    socket_event::{BindResult, Mechanism},
};
use monitor_identify::Identification;
use monitor_kernel::hooks::{Hook, HookMechanism};
use monitor_ledger::Wake;
use serde::Serialize;

use super::{
    caller::CallerFields,
    context::EventContext,
    held_by::HeldBy,
    listening::Listening,
    name::EventName,
    repeats::Repeats,
    socket::{Errno, SocketFields},
};
use crate::{
    classification::Kept,
    process::ExecutableFacts,
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
    /// The alike events that it stands for; `None` if it stands for itself alone.
    pub repeats: Option<Repeats>,
}

/// What happened, by kind.
#[derive(Clone, Debug, PartialEq)]
pub enum EventBody {
    /// A socket was bound to a watched port.
    Bind(Bind),
    /// A bind to a watched port was refused.
    BindFailed(FailedBind),
    /// A TCP socket on a watched port began to listen.
    Listen(Bind),
    /// A socket on a watched port was closed.
    Close(Bind),
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
        /// Every hook, and what serves it.
        hooks: Vec<HookOutcome>,
    },
    /// The agent stops.
    AgentStopped {
        /// Why.
        reason: String,
    },
    /// A hook is served by another mechanism than before, or by none.
    HookChanged(HookOutcome),
    /// Events alike that were not emitted one by one.
    Summary(Summary),
    /// A selftest of the agent ended.
    Selftest(Selftest),
    /// A process sends to a watched port of another host.
    Connect(Connect),
    /// What was found out about the file that a process executes, of which there was an event.
    Executable(Box<ExecutableFound>),
    /// A listener that the baseline does not have, or has no longer.
    Listener(Listening),
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

/// A bind, or another call of a process that may be an expected owner.
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
    /// What was in the way, if that was found out.
    pub held_by: Option<Box<HeldBy>>,
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
    /// A process that sends to the port of another host.
    Connect(Box<Connect>),
    /// A packet from this end.
    Sender(SocketFields, SocketAddr),
    /// Port and protocol alone, as for a packet whose sender is not known.
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
    /// It bound the port, and the file that it executes, which was not known then, does not match.
    Differs {
        /// The bind.
        call: Call,
        /// What does not match.
        reason: String,
    },
    /// Its socket was found open. No bind of it was seen.
    FoundOpen {
        /// Whether an expected process bound it, and this one holds it now.
        is_passed_on: bool,
        /// The socket.
        socket: SocketFields,
        /// A process that holds the socket, if one is known.
        holder: Option<CallerFields>,
    },
}

/// What serves a hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HookOutcome {
    /// The hook.
    pub hook: Hook,
    /// The interface, for the traffic hooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The mechanism that serves the hook; `None` if it is not attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<HookMechanism>,
    /// Why better mechanisms were rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A process that sends to a watched port of another host.
#[derive(Clone, Debug, PartialEq)]
pub struct Connect {
    /// The call. Of the socket, only protocol and family are known.
    pub call: Call,
    /// Address of the peer.
    pub peer_address: Option<IpAddr>,
    /// The watched port, which is the peer's.
    pub port: u16,
}

/// What was found out about the file that a process executes.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecutableFound {
    /// The socket of the event to which it belongs.
    pub socket: SocketFields,
    /// The port that the event was about.
    pub port: Option<u16>,
    /// The process.
    pub process: CallerFields,
    /// The file.
    pub facts: Arc<ExecutableFacts>,
}

/// The outcome of a selftest of the agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Selftest {
    /// Where it was.
    pub socket: SocketFields,
    /// The process that made its calls, if one was seen.
    pub caller: Option<CallerFields>,
    /// Which hooks have not seen it; `None` if all have.
    pub failure: Option<String>,
}

/// What events that were not emitted one by one have in common.
#[derive(Clone, Debug, PartialEq)]
pub enum Summary {
    /// Socket calls of one program.
    Calls {
        /// The last of them.
        last: Box<EventBody>,
        /// How many processes made them; `None` if that is unknown.
        processes: Option<u64>,
    },
    /// Conversations with peers of one network.
    Conversations(Box<Conversations>),
    /// What expected owners of a port did within a day. It has events of its own.
    Expected {
        /// The last bind.
        last: Box<EventBody>,
    },
}

/// Conversations that were identified alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversations {
    /// The last of them, without what belongs to it alone.
    pub last: Identified,
    /// Number of different peers; an estimate for IPv6, and where `network` is unknown.
    pub peers: u64,
    /// The network of the peers, and the bits of its prefix; `None` if they have none in common.
    pub network: Option<(IpAddr, u8)>,
    /// Bytes of the identified payloads on the wire.
    pub bytes: u64,
}

impl Event {
    /// An event of the host in `context`.
    pub fn new(time: Timestamp, body: EventBody, context: &EventContext) -> Self {
        Self { time, host_name: context.host_name.clone(), body, repeats: None }
    }

    /// The alike events that it stands for: itself, if for no others.
    pub fn stands_for(&self) -> Repeats {
        self.repeats.unwrap_or(Repeats::one(self.time))
    }

    /// Its kind.
    pub const fn name(&self) -> EventName {
        self.body.name()
    }

    /// The watched port that it is about.
    pub fn port(&self) -> Option<u16> {
        self.body.port()
    }

    /// The socket that it is about.
    pub fn socket(&self) -> Option<&SocketFields> {
        self.body.socket()
    }

    /// The process that made the call or holds the socket.
    pub fn caller(&self) -> Option<&CallerFields> {
        self.body.caller()
    }

    /// The call that it is about.
    pub fn call(&self) -> Option<&Call> {
        self.body.call()
    }
}

impl EventBody {
    /// Its kind.
    pub const fn name(&self) -> EventName {
        match self {
            Self::Bind(_) => EventName::Bind,
            Self::BindFailed(_) => EventName::BindFailed,
            Self::Listen(_) => EventName::Listen,
            Self::Close(_) => EventName::Close,
            Self::Awakened(_) => EventName::Awakened,
            Self::Dormant(_) => EventName::Dormant,
            Self::Answered(_) => EventName::Answered,
            Self::Captured(_) => EventName::Captured,
            Self::Identified(_) => EventName::Identified,
            Self::UnexpectedOwner(_) => EventName::UnexpectedOwner,
            Self::AgentStarted { .. } => EventName::AgentStarted,
            Self::AgentStopped { .. } => EventName::AgentStopped,
            Self::HookChanged(_) => EventName::HookChanged,
            Self::Summary(_) => EventName::Summary,
            Self::Selftest(_) => EventName::Selftest,
            Self::Connect(_) => EventName::Connect,
            Self::Executable(_) => EventName::Executable,
            Self::Listener(listening) => listening.name(),
        }
    }

    /// The watched port that it is about.
    pub(crate) fn port(&self) -> Option<u16> {
        match self {
            Self::Identified(identified) => Some(identified.port),
            Self::Summary(Summary::Conversations(of)) => Some(of.last.port),
            Self::Captured(captured) => captured.port(),
            Self::Connect(connect) => Some(connect.port),
            Self::Executable(found) => found.port,
            Self::Summary(Summary::Calls { last, .. }) => last.port(),
            Self::Awakened(Awakened { by: AwakenedBy::Connect(connect), .. }) => Some(connect.port),
            _ => self.socket()?.local_port,
        }
    }

    fn socket(&self) -> Option<&SocketFields> {
        match self {
            Self::Awakened(awakened) => Some(awakened.by.socket()),
            Self::Dormant(socket)
            | Self::UnexpectedOwner(UnexpectedOwner::FoundOpen { socket, .. }) => Some(socket),
            Self::Answered(answered) => Some(&answered.socket),
            Self::Captured(captured) => Some(&captured.socket),
            Self::Identified(identified) => Some(&identified.socket),
            Self::Summary(Summary::Conversations(of)) => Some(&of.last.socket),
            Self::Selftest(selftest) => Some(&selftest.socket),
            Self::Listener(listening) => Some(&listening.socket),
            Self::Executable(found) => Some(&found.socket),
            _ => self.call().map(|call| &call.socket),
        }
    }

    /// The process that made the call or holds the socket.
    pub(crate) fn caller(&self) -> Option<&CallerFields> {
        match self {
            Self::UnexpectedOwner(UnexpectedOwner::FoundOpen { holder, .. }) => holder.as_ref(),
            Self::Captured(captured) => captured.holder.as_ref(),
            Self::Selftest(selftest) => selftest.caller.as_ref(),
            Self::Listener(listening) => listening.process(),
            Self::Executable(found) => Some(&found.process),
            _ => self.call()?.caller.as_ref(),
        }
    }

    fn call(&self) -> Option<&Call> {
        match self {
            Self::Bind(of) | Self::Listen(of) | Self::Close(of) => Some(&of.call),
            Self::BindFailed(failed) => Some(&failed.bind.call),
            Self::UnexpectedOwner(
                UnexpectedOwner::Bound(call) | UnexpectedOwner::Differs { call, .. },
            ) => Some(call),
            Self::Awakened(awakened) => awakened.by.call(),
            Self::Summary(Summary::Calls { last, .. } | Summary::Expected { last }) => last.call(),
            Self::Connect(connect) => Some(&connect.call),
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
            Self::Connect(connect) => Some(&connect.call),
            Self::Sender(..) | Self::Port(_) => None,
        }
    }

    const fn socket(&self) -> &SocketFields {
        match self {
            Self::Bind(bind) => &bind.call.socket,
            Self::FailedBind(failed) => &failed.bind.call.socket,
            Self::Call(call) => &call.socket,
            Self::Connect(connect) => &connect.call.socket,
            Self::Sender(socket, _) | Self::Port(socket) => socket,
        }
    }

    pub(super) const fn socket_mut(&mut self) -> &mut SocketFields {
        match self {
            Self::Bind(bind) => &mut bind.call.socket,
            Self::FailedBind(failed) => &mut failed.bind.call.socket,
            Self::Call(call) => &mut call.socket,
            Self::Connect(connect) => &mut connect.call.socket,
            Self::Sender(socket, _) | Self::Port(socket) => socket,
        }
    }
}
