//! An event as JSON: one object on one line, made once and shared.

use std::{borrow::Cow, sync::Arc};

use jiff::Timestamp;
use monitor_common::{flow::Direction, socket_event::BindResult};
use serde::Serialize;

use super::{
    body::{
        Answered, Awakened, AwakenedBy, Bind, Call, Captured, Connect, Conversations, Event,
        EventBody, ExecutableFound, FailedBind, HookOutcome, Identified, Selftest, Summary,
        UnexpectedOwner,
    },
    caller::{CallerFields, IdentityFields, nanosecond_rfc3339, optional_nanosecond_rfc3339},
    groups::{
        CaptureFields, ConnectFields, ConversationFields, ExecutableFields, HookFields,
        SummaryFields,
    },
    held_by::HeldBy,
    listening::{ListenerFields, Listening, Listens},
    name::EventName,
    repeats::Repeats,
    severity::Severity,
    socket::{Errno, SocketFields},
};
use crate::{classification::Kept, sockets};

/// Version of the format. A field may be added to it; none is renamed or removed.
pub const SCHEMA: &str = "ghostport.event/1";

/// Ports in a list at most.
const MAX_PORTS: usize = 64;

/// An event with its JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedEvent {
    /// The event.
    pub event: Event,
    /// Its JSON.
    pub line: JsonLine,
}

/// A JSON object as a line of text, or, for a receiver of another format, its line. Clones share the
/// bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonLine(Arc<str>);

impl EncodedEvent {
    /// Encodes `event`.
    ///
    /// # Errors
    ///
    /// None that an event is known to cause: it has neither keys nor numbers that JSON lacks.
    pub fn new(event: Event) -> serde_json::Result<Self> {
        let json = serde_json::to_string(&Document::from(&event))?;
        Ok(Self { event, line: JsonLine::from(json) })
    }
}

impl JsonLine {
    /// The object, without a line feed.
    pub fn json(&self) -> &str {
        self.0.strip_suffix('\n').unwrap_or(&self.0)
    }

    /// The object with one more field, whose value is JSON.
    pub fn with_field(&self, name: &str, json: &str) -> Self {
        let object = self.json().strip_suffix('}').unwrap_or_default();
        Self::from(format!("{object},\"{name}\":{json}}}"))
    }

    /// Bytes of the object with its line feed.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// The object with a line feed.
    pub fn as_line(&self) -> &str {
        &self.0
    }
}

impl From<String> for JsonLine {
    /// From an object that has no line feed in it.
    fn from(mut json: String) -> Self {
        json.push('\n');
        Self(json.into())
    }
}

/// Every field of every kind, in the order in which they are written.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    #[serde(serialize_with = "nanosecond_rfc3339")]
    time: Timestamp,
    #[serde(rename = "event.name")]
    name: EventName,
    #[serde(rename = "host.name")]
    host_name: &'a str,
    #[serde(rename = "ghostport.severity")]
    severity: Severity,
    #[serde(rename = "ghostport.attack_techniques", skip_serializing_if = "<[&str]>::is_empty")]
    attack_techniques: &'static [&'static str],
    #[serde(flatten)]
    socket: Option<&'a SocketFields>,
    #[serde(rename = "ghostport.result", skip_serializing_if = "Option::is_none")]
    result: Option<&'static str>,
    #[serde(rename = "ghostport.errno", skip_serializing_if = "Option::is_none")]
    errno: Option<Errno>,
    #[serde(rename = "ghostport.held_by", skip_serializing_if = "Option::is_none")]
    held_by: Option<&'a HeldBy>,
    #[serde(rename = "ghostport.netns_inode", skip_serializing_if = "Option::is_none")]
    netns_inode: Option<u32>,
    #[serde(flatten)]
    conversation: Option<ConversationFields<'a>>,
    #[serde(flatten)]
    connect: Option<ConnectFields>,
    #[serde(flatten)]
    capture: Option<CaptureFields<'a>>,
    #[serde(flatten)]
    listener: Option<ListenerFields<'a>>,
    #[serde(flatten)]
    caller: Option<&'a CallerFields>,
    /// Of a program without a process.
    #[serde(flatten)]
    program: Option<&'a IdentityFields>,
    #[serde(flatten)]
    executable: Option<ExecutableFields<'a>>,
    #[serde(rename = "ghostport.expected", skip_serializing_if = "Option::is_none")]
    expected: Option<bool>,
    #[serde(rename = "ghostport.dormant_for_seconds", skip_serializing_if = "Option::is_none")]
    dormant_for_seconds: Option<f64>,
    #[serde(flatten)]
    hook: Option<HookFields<'a>>,
    #[serde(rename = "service.version", skip_serializing_if = "Option::is_none")]
    agent_version: Option<&'static str>,
    #[serde(rename = "ghostport.hooks", skip_serializing_if = "<[HookOutcome]>::is_empty")]
    hooks: &'a [HookOutcome],
    #[serde(rename = "ghostport.mechanism", skip_serializing_if = "Option::is_none")]
    mechanism: Option<&'static str>,
    #[serde(rename = "ghostport.path", skip_serializing_if = "Option::is_none")]
    path: Option<&'static str>,
    #[serde(rename = "ghostport.path_target", skip_serializing_if = "Option::is_none")]
    path_target: Option<Cow<'a, str>>,
    #[serde(flatten)]
    summary: Option<SummaryFields>,
    #[serde(rename = "ghostport.count", skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(
        rename = "ghostport.first_time",
        serialize_with = "optional_nanosecond_rfc3339",
        skip_serializing_if = "Option::is_none"
    )]
    first_time: Option<Timestamp>,
    #[serde(
        rename = "ghostport.last_time",
        serialize_with = "optional_nanosecond_rfc3339",
        skip_serializing_if = "Option::is_none"
    )]
    last_time: Option<Timestamp>,
    #[serde(rename = "ghostport.reason", skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
}

impl<'a> From<&'a Event> for Document<'a> {
    fn from(event: &'a Event) -> Self {
        let mut document = Self {
            schema: SCHEMA,
            time: event.time,
            name: event.name(),
            host_name: &event.host_name,
            severity: event.severity(),
            attack_techniques: event.attack_techniques(),
            socket: None,
            result: None,
            errno: None,
            held_by: None,
            netns_inode: None,
            conversation: None,
            connect: None,
            capture: None,
            listener: None,
            caller: None,
            program: None,
            executable: None,
            expected: None,
            dormant_for_seconds: None,
            hook: None,
            agent_version: None,
            hooks: &[],
            mechanism: None,
            path: None,
            path_target: None,
            summary: None,
            count: None,
            first_time: None,
            last_time: None,
            reason: None,
        };
        document.body(&event.body);
        if let Some(Repeats { count, first, last }) = event.repeats {
            document.count = Some(count);
            document.first_time = Some(first);
            document.last_time = Some(last);
        }
        document
    }
}

impl<'a> Document<'a> {
    fn body(&mut self, body: &'a EventBody) {
        match body {
            EventBody::Bind(bind) => {
                self.bind(bind);
                self.path_target = proxied(&bind.call.socket, bind.call.caller.as_ref());
            }
            EventBody::BindFailed(failed) => self.failed_bind(failed),
            EventBody::Listen(of) | EventBody::Close(of) => {
                self.call(&of.call);
                self.expected = of.expected;
            }
            EventBody::Awakened(awakened) => self.awakened(awakened),
            EventBody::Dormant(socket) => self.socket(socket),
            EventBody::Answered(answered) => self.answered(answered),
            EventBody::Captured(captured) => self.captured(captured),
            EventBody::Identified(identified) => self.identified(identified),
            EventBody::UnexpectedOwner(owner) => self.unexpected_owner(owner),
            EventBody::AgentStarted { version, hooks } => {
                self.agent_version = Some(version);
                self.hooks = hooks;
            }
            EventBody::AgentStopped { reason } => self.reason = Some(reason.into()),
            EventBody::HookChanged(changed) => self.hook_changed(changed),
            EventBody::Summary(summary) => self.summary(summary),
            EventBody::Selftest(selftest) => self.selftest(selftest),
            EventBody::Connect(connect) => self.connect(connect),
            EventBody::Executable(found) => self.executable(found),
            EventBody::Listener(listening) => self.listening(listening),
        }
    }

    fn socket(&mut self, socket: &'a SocketFields) {
        self.socket = Some(socket);
        self.netns_inode = socket.netns_inode;
    }

    fn call(&mut self, call: &'a Call) {
        self.socket(&call.socket);
        self.caller = call.caller.as_ref();
        self.mechanism = Some(call.mechanism.name());
    }

    fn bind(&mut self, bind: &'a Bind) {
        self.call(&bind.call);
        self.result = Some(BindResult::Success.name());
        self.expected = bind.expected;
    }

    fn failed_bind(&mut self, failed: &'a FailedBind) {
        self.bind(&failed.bind);
        self.result = Some(failed.result().name());
        self.errno = Some(failed.error());
        self.held_by = failed.held_by.as_deref();
    }

    fn awakened(&mut self, awakened: &'a Awakened) {
        match &awakened.by {
            AwakenedBy::Bind(bind) => self.bind(bind),
            AwakenedBy::FailedBind(failed) => self.failed_bind(failed),
            AwakenedBy::Call(call) => self.call(call),
            AwakenedBy::Connect(connect) => self.connect(connect),
            AwakenedBy::Sender(socket, peer) => {
                self.socket(socket);
                self.connect = socket.local_port.map(|port| ConnectFields {
                    port,
                    peer_address: Some(peer.ip()),
                    peer_port: peer.port(),
                });
            }
            AwakenedBy::Port(socket) => self.socket(socket),
        }
        self.expected = awakened.wake.expected();
        self.dormant_for_seconds = Some(awakened.dormant_for.as_secs_f64());
        self.reason = Some(awakened.wake.to_string().into());
    }

    fn answered(&mut self, answered: &'a Answered) {
        self.socket(&answered.socket);
        self.path = Some(answered.reach.path.name());
        self.path_target = answered.reach.target.as_deref().map(Cow::from);
        self.count = Some(answered.answers);
    }

    fn captured(&mut self, captured: &'a Captured) {
        self.socket(&captured.socket);
        let port = captured.port();
        let ports = captured.ports.get(..MAX_PORTS).unwrap_or(&captured.ports);
        self.capture = Some(CaptureFields {
            port,
            ports: if port.is_some() { &[] } else { ports },
            filter: &captured.filter,
        });
        self.path = Some(captured.kind.name());
        self.caller = captured.holder.as_ref();
    }

    fn identified(&mut self, identified: &'a Identified) {
        self.socket(&identified.socket);
        let identification = &identified.identification;
        let (payload_sha256, payload_hex) = match &identified.kept {
            Some(Kept::Hash(hash)) => (Some(hash.as_str()), None),
            Some(Kept::Bytes(bytes)) => (None, Some(bytes.as_str())),
            None => (None, None),
        };
        self.conversation = Some(ConversationFields {
            port: identified.port,
            peer_address: Some(identified.peer.ip()),
            peer_port: Some(identified.peer.port()),
            interface: identified.interface.as_deref(),
            io_direction: io_direction(identified.direction),
            verdict: identification.verdict,
            grade: identification.grade,
            details: Some(&identification.details).filter(|details| !details.is_empty()),
            payload_size: identified.payload_size,
            payload_sha256,
            payload_hex,
        });
        self.reason = Some(identification.reason.as_ref().into());
    }

    fn unexpected_owner(&mut self, owner: &'a UnexpectedOwner) {
        match owner {
            UnexpectedOwner::Bound(call) => {
                self.call(call);
                self.path_target = proxied(&call.socket, call.caller.as_ref());
                self.result = Some(BindResult::Success.name());
            }
            UnexpectedOwner::Differs { call, reason } => {
                self.call(call);
                self.path_target = proxied(&call.socket, call.caller.as_ref());
                self.result = Some(BindResult::Success.name());
                self.reason = Some(reason.into());
            }
            UnexpectedOwner::FoundOpen { socket, holder, is_passed_on } => {
                self.socket(socket);
                self.caller = holder.as_ref();
                self.path_target = proxied(socket, holder.as_ref());
                self.reason = Some(if *is_passed_on {
                    "it holds a socket that was bound before".into()
                } else {
                    "it was found open, bound unseen".into()
                });
            }
        }
        self.expected = Some(false);
    }

    fn summary(&mut self, summary: &'a Summary) {
        match summary {
            Summary::Calls { last, processes } => {
                self.body(last);
                self.summary = Some(SummaryFields {
                    of: last.name().kind(),
                    processes: *processes,
                    ..SummaryFields::default()
                });
            }
            Summary::Conversations(conversations) => self.conversations(conversations),
            Summary::Expected { last } => {
                self.body(last);
                self.summary = Some(SummaryFields { of: "expected", ..SummaryFields::default() });
            }
        }
    }

    fn conversations(&mut self, conversations: &'a Conversations) {
        let Conversations { last, peers, network, bytes } = conversations;
        self.socket(&last.socket);
        let identification = &last.identification;
        self.conversation = Some(ConversationFields {
            port: last.port,
            peer_address: (*peers == 1).then(|| last.peer.ip()),
            peer_port: None,
            interface: None,
            io_direction: io_direction(last.direction),
            verdict: identification.verdict,
            grade: identification.grade,
            details: None,
            payload_size: None,
            payload_sha256: None,
            payload_hex: None,
        });
        self.summary = Some(SummaryFields {
            of: EventName::Identified.kind(),
            peers: Some(*peers),
            peer_network: network.map(|(address, bits)| format!("{address}/{bits}")),
            bytes: Some(*bytes),
            ..SummaryFields::default()
        });
        self.reason = Some(identification.reason.as_ref().into());
    }

    fn connect(&mut self, connect: &'a Connect) {
        self.call(&connect.call);
        self.connect = Some(ConnectFields {
            port: connect.port,
            peer_address: connect.peer_address,
            peer_port: connect.port,
        });
    }

    fn executable(&mut self, found: &'a ExecutableFound) {
        self.socket(&found.socket);
        self.caller = Some(&found.process);
        self.executable = Some(found.into());
        self.reason = found.facts.file.unread.map(Cow::from);
    }

    fn listening(&mut self, listening: &'a Listening) {
        self.socket(&listening.socket);
        self.listener = Some(listening.fields());
        match &listening.by {
            Listens::Process(process) => self.caller = Some(process),
            Listens::Program(program) => self.program = Some(program),
        }
        self.expected = listening.expected;
    }

    fn selftest(&mut self, selftest: &'a Selftest) {
        self.socket(&selftest.socket);
        self.caller = selftest.caller.as_ref();
        let result =
            if selftest.failure.is_none() { BindResult::Success } else { BindResult::Error };
        self.result = Some(result.name());
        self.reason = selftest.failure.as_deref().map(Cow::from);
    }

    fn hook_changed(&mut self, changed: &'a HookOutcome) {
        self.hook =
            Some(HookFields { hook: changed.hook.name(), interface: changed.interface.as_deref() });
        self.mechanism = changed.mechanism.map(|mechanism| mechanism.name());
        self.reason = changed.reason.as_deref().map(Cow::from);
    }
}

/// The direction in the words of OpenTelemetry.
const fn io_direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "receive",
        Direction::Egress => "transmit",
    }
}

/// Where a caller that is a proxy passes on what comes to a port that it holds for a container.
fn proxied<'a>(socket: &SocketFields, caller: Option<&CallerFields>) -> Option<Cow<'a, str>> {
    let caller = caller?;
    let names = [caller.identity.executable_path.as_deref(), caller.executable_name.as_deref()];
    let arguments = caller.command_args.as_deref().unwrap_or_default();
    sockets::proxy_target(names, arguments, socket.local_port?, socket.transport?).map(Cow::from)
}
