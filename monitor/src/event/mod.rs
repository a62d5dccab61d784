//! Events: what happened to a socket, a hook or the agent, as one JSON object a line.
//!
//! Field names are those of the OpenTelemetry semantic conventions where they have one, and begin
//! with `ghostport.` where not. What is not known is absent, never guessed.

pub mod broadcast;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use monitor_common::{
    flow::{Direction, Protocol},
    sampling::ip_address,
    socket_event::{BindResult, Mechanism, SocketEvent, SocketEventKind, UnknownVariant, known},
};
use serde::{Serialize, Serializer};

use crate::{
    catalogue,
    classification::{Finding, Kept},
    config::PayloadKeep,
    process::{Ancestor, CommandLine, Identity, User, text},
    sockets::Socket,
};
use monitor_identify::{Details, Grade, Verdict};
use monitor_kernel::hooks::HookStatus;
use monitor_ledger::{Cause, Change, Transition};

/// Version of the format; a field may be added to it, none renamed or removed.
pub const SCHEMA: &str = "ghostport.event/1";

/// What is told of one event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "every field is explained by the name it is serialized with")]
pub struct Event {
    pub schema: &'static str,
    #[serde(serialize_with = "nanosecond_rfc3339")]
    pub time: Timestamp,
    #[serde(rename = "event.name")]
    pub name: EventName,
    #[serde(rename = "host.name")]
    pub host_name: String,
    #[serde(flatten)]
    pub socket: Option<SocketFields>,
    #[serde(flatten)]
    pub conversation: Option<ConversationFields>,
    #[serde(flatten)]
    pub caller: Option<CallerFields>,
    #[serde(rename = "ghostport.expected", skip_serializing_if = "Option::is_none")]
    pub expected: Option<bool>,
    #[serde(rename = "ghostport.dormant_for_seconds", skip_serializing_if = "Option::is_none")]
    pub dormant_for_seconds: Option<f64>,
    #[serde(flatten)]
    pub hook: Option<HookFields>,
    #[serde(rename = "service.version", skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<&'static str>,
    #[serde(rename = "ghostport.mechanism", skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<&'static str>,
    #[serde(rename = "ghostport.reason", skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What woke the port; the reason says it in words.
    #[serde(skip)]
    pub cause: Option<Cause>,
}

/// Kind of an event, the value of `event.name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum EventName {
    /// A socket was bound to a watched port.
    #[serde(rename = "ghostport.bind")]
    Bind,
    /// A bind to a watched port was refused.
    #[serde(rename = "ghostport.bind_failed")]
    BindFailed,
    /// A TCP socket on a watched port began to listen.
    #[serde(rename = "ghostport.listen")]
    Listen,
    /// A socket gave a watched port back.
    #[serde(rename = "ghostport.close")]
    Close,
    /// Something happened at a port that was dormant.
    #[serde(rename = "ghostport.awakened")]
    Awakened,
    /// A port has been quiet for so long that it counts as dormant.
    #[serde(rename = "ghostport.dormant")]
    Dormant,
    /// It is known what a payload is.
    #[serde(rename = "ghostport.identified")]
    Identified,
    /// A watched port was bound by one whom the configuration does not expect.
    #[serde(rename = "ghostport.unexpected_owner")]
    UnexpectedOwner,
    /// The agent is at work.
    #[serde(rename = "ghostport.agent_started")]
    AgentStarted,
    /// The agent ends.
    #[serde(rename = "ghostport.agent_stopped")]
    AgentStopped,
    /// A hook is served by another mechanism than before, or by none.
    #[serde(rename = "ghostport.hook_changed")]
    HookChanged,
}

impl EventName {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Bind,
        Self::BindFailed,
        Self::Listen,
        Self::Close,
        Self::Awakened,
        Self::Dormant,
        Self::Identified,
        Self::UnexpectedOwner,
        Self::AgentStarted,
        Self::AgentStopped,
        Self::HookChanged,
    ];

    /// The kind alone: the name without `ghostport.`.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::BindFailed => "bind_failed",
            Self::Listen => "listen",
            Self::Close => "close",
            Self::Awakened => "awakened",
            Self::Dormant => "dormant",
            Self::Identified => "identified",
            Self::UnexpectedOwner => "unexpected_owner",
            Self::AgentStarted => "agent_started",
            Self::AgentStopped => "agent_stopped",
            Self::HookChanged => "hook_changed",
        }
    }

    /// The event of this kind.
    pub fn from_kind(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.kind() == kind)
    }
}

/// The socket of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "every field is explained by the name it is serialized with")]
pub struct SocketFields {
    #[serde(rename = "network.transport", skip_serializing_if = "Option::is_none")]
    pub transport: Option<&'static str>,
    #[serde(rename = "network.type", skip_serializing_if = "Option::is_none")]
    pub network_type: Option<&'static str>,
    #[serde(rename = "network.local.address", skip_serializing_if = "Option::is_none")]
    pub local_address: Option<IpAddr>,
    #[serde(rename = "network.local.port", skip_serializing_if = "Option::is_none")]
    pub local_port: Option<u16>,
    #[serde(rename = "ghostport.service", skip_serializing_if = "Option::is_none")]
    pub service: Option<&'static str>,
    #[serde(rename = "ghostport.result", skip_serializing_if = "Option::is_none")]
    pub result: Option<&'static str>,
    #[serde(rename = "ghostport.errno", skip_serializing_if = "Option::is_none")]
    pub errno: Option<Errno>,
    #[serde(rename = "ghostport.netns_inode", skip_serializing_if = "Option::is_none")]
    pub netns_inode: Option<u32>,
}

/// The conversation of an event, as far as [`SocketFields`] do not tell it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "every field is explained by the name it is serialized with")]
pub struct ConversationFields {
    #[serde(rename = "ghostport.port")]
    pub port: u16,
    #[serde(rename = "network.peer.address")]
    pub peer_address: IpAddr,
    #[serde(rename = "network.peer.port")]
    pub peer_port: u16,
    #[serde(rename = "network.interface.name", skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    #[serde(rename = "network.io.direction")]
    pub io_direction: &'static str,
    #[serde(rename = "ghostport.verdict")]
    pub verdict: Verdict,
    #[serde(rename = "ghostport.grade")]
    pub grade: Grade,
    #[serde(rename = "ghostport.details", skip_serializing_if = "Details::is_empty")]
    pub details: Details,
    #[serde(rename = "ghostport.payload_size", skip_serializing_if = "Option::is_none")]
    pub payload_size: Option<usize>,
    #[serde(rename = "ghostport.payload_sha256", skip_serializing_if = "Option::is_none")]
    pub payload_sha256: Option<String>,
    #[serde(rename = "ghostport.payload_hex", skip_serializing_if = "Option::is_none")]
    pub payload_hex: Option<String>,
}

/// Who made the call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "every field is explained by the name it is serialized with")]
pub struct CallerFields {
    #[serde(rename = "process.pid")]
    pub pid: u32,
    #[serde(rename = "process.parent_pid", skip_serializing_if = "Option::is_none")]
    pub parent_pid: Option<u32>,
    #[serde(
        rename = "process.creation.time",
        serialize_with = "optional_nanosecond_rfc3339",
        skip_serializing_if = "Option::is_none"
    )]
    pub creation_time: Option<Timestamp>,
    #[serde(rename = "process.executable.name", skip_serializing_if = "Option::is_none")]
    pub executable_name: Option<String>,
    #[serde(rename = "process.command_args", skip_serializing_if = "Option::is_none")]
    pub command_args: Option<Vec<String>>,
    #[serde(rename = "ghostport.command_args_truncated", skip_serializing_if = "is_false")]
    pub command_args_truncated: bool,
    #[serde(rename = "thread.id", skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<u32>,
    #[serde(rename = "thread.name", skip_serializing_if = "Option::is_none")]
    pub thread_name: Option<String>,
    #[serde(rename = "process.user.id", skip_serializing_if = "Option::is_none")]
    pub user_id: Option<u32>,
    #[serde(rename = "process.real_user.id", skip_serializing_if = "Option::is_none")]
    pub real_user_id: Option<u32>,
    #[serde(rename = "ghostport.real_group_id", skip_serializing_if = "Option::is_none")]
    pub real_group_id: Option<u32>,
    #[serde(rename = "ghostport.cgroup_id", skip_serializing_if = "Option::is_none")]
    pub cgroup_id: Option<u64>,
    #[serde(flatten)]
    pub identity: IdentityFields,
}

/// What `/proc` and the control group say of the caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "every field is explained by the name it is serialized with")]
pub struct IdentityFields {
    #[serde(rename = "process.executable.path", skip_serializing_if = "Option::is_none")]
    pub executable_path: Option<String>,
    #[serde(rename = "ghostport.executable_deleted", skip_serializing_if = "is_false")]
    pub executable_deleted: bool,
    #[serde(rename = "process.user.name", skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    #[serde(rename = "process.real_user.name", skip_serializing_if = "Option::is_none")]
    pub real_user_name: Option<String>,
    #[serde(rename = "process.linux.cgroup", skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    #[serde(rename = "container.id", skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    #[serde(rename = "k8s.pod.uid", skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    #[serde(rename = "ghostport.systemd_unit", skip_serializing_if = "Option::is_none")]
    pub systemd_unit: Option<String>,
    #[serde(rename = "ghostport.ancestors", skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<AncestorFields>,
}

/// A process that the caller descends from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "every field is explained by its name")]
pub struct AncestorFields {
    pub pid: u32,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<String>,
}

/// The hook of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "every field is explained by the name it is serialized with")]
pub struct HookFields {
    #[serde(rename = "ghostport.hook")]
    pub hook: &'static str,
    #[serde(rename = "network.interface.name", skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

/// An error number: by its name, or as it is if it has none here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Errno {
    /// The name in `errno.h`.
    Name(&'static str),
    /// The number itself.
    Number(u32),
}

/// What an event needs to know beside the record of the kernel side.
#[derive(Clone, Debug)]
pub struct EventContext {
    /// Name of this host.
    pub host_name: String,
    /// From the clock of the kernel side to the time of day, nanoseconds.
    pub clock_offset_ns: i128,
}

impl EventContext {
    /// The time of day of a time of the kernel side; `None` outside of any calendar.
    fn time_of_day(&self, time_ns: u64) -> Option<Timestamp> {
        Timestamp::from_nanosecond(i128::from(time_ns) + self.clock_offset_ns).ok()
    }
}

/// A record of the kernel side that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The kind is none of those known.
    #[error("unknown kind {0} of a socket event")]
    Kind(u8),
    /// The mechanism is none of those known.
    #[error("unknown mechanism {0} of a socket event")]
    Mechanism(u8),
    /// The time is outside of any calendar.
    #[error("time {0} ns of a socket event is out of range")]
    Time(u64),
}

impl Event {
    /// What `record` says, and the caller's command line: NUL after every argument.
    pub fn from_socket_event(
        record: &SocketEvent,
        command_line: Option<&[u8]>,
        context: &EventContext,
    ) -> Result<Self, DecodeError> {
        let kind = SocketEventKind::try_from(record.kind)
            .map_err(|UnknownVariant(byte)| DecodeError::Kind(byte))?;
        let mechanism = Mechanism::try_from(record.mechanism)
            .map_err(|UnknownVariant(byte)| DecodeError::Mechanism(byte))?;
        let time = context.time_of_day(record.time_ns).ok_or(DecodeError::Time(record.time_ns))?;
        let name = match kind {
            SocketEventKind::Bind if record.errno == 0 => EventName::Bind,
            SocketEventKind::Bind => EventName::BindFailed,
            SocketEventKind::Listen => EventName::Listen,
            SocketEventKind::Close => EventName::Close,
        };
        Ok(Self {
            socket: Some(SocketFields::new(record, kind)),
            caller: CallerFields::new(record, command_line, context),
            mechanism: Some(mechanism.name()),
            ..Self::new(name, time, context)
        })
    }

    /// The same with what was found out about the caller.
    pub fn by(mut self, identity: &Identity) -> Self {
        if let Some(caller) = &mut self.caller {
            caller.complete(identity);
        }
        self
    }

    /// What was found of a conversation on `interface`.
    pub fn identified(
        finding: &Finding,
        interface: Option<&str>,
        keep: PayloadKeep,
        context: &EventContext,
    ) -> Option<Self> {
        let time = context.time_of_day(finding.time_ns)?;
        let identification = &finding.identification;
        let payload = finding.payload.as_ref();
        let (payload_sha256, payload_hex) = match payload.and_then(|payload| payload.kept(keep)) {
            Some(Kept::Hash(hash)) => (Some(hash), None),
            Some(Kept::Bytes(bytes)) => (None, Some(bytes)),
            None => (None, None),
        };
        Some(Self {
            socket: Some(SocketFields {
                service: catalogue::lookup(finding.port).map(|service| service.name),
                ..SocketFields::at(finding.protocol, finding.local)
            }),
            conversation: Some(ConversationFields {
                port: finding.port,
                peer_address: finding.peer.ip(),
                peer_port: finding.peer.port(),
                interface: interface.map(ToOwned::to_owned),
                io_direction: match finding.direction {
                    Direction::Ingress => "receive",
                    Direction::Egress => "transmit",
                },
                verdict: identification.verdict,
                grade: identification.grade,
                details: identification.details.clone(),
                payload_size: payload.map(|payload| payload.size),
                payload_sha256,
                payload_hex,
            }),
            reason: Some(identification.reason.to_string()),
            ..Self::new(EventName::Identified, time, context)
        })
    }

    /// The watched port that it is about.
    pub fn port(&self) -> Option<u16> {
        let of_conversation = self.conversation.as_ref().map(|conversation| conversation.port);
        of_conversation.or_else(|| self.socket.as_ref()?.local_port)
    }

    /// The same bind as an event of its own: its caller is not expected there.
    pub fn unexpected_owner(&self) -> Self {
        Self { name: EventName::UnexpectedOwner, ..self.clone() }
    }

    /// A socket that was found open at `time`, held by one who is not expected there; nobody has seen
    /// who bound it.
    pub fn unexpected_holder(
        socket: &Socket,
        holder: Option<&Identity>,
        time: Timestamp,
        context: &EventContext,
    ) -> Self {
        Self {
            socket: Some(SocketFields {
                netns_inode: socket.netns_inode,
                ..SocketFields::at(socket.entry.protocol, socket.entry.local)
            }),
            caller: holder.map(CallerFields::of),
            expected: Some(false),
            reason: Some("it was found open, bound unseen".to_owned()),
            ..Self::new(EventName::UnexpectedOwner, time, context)
        }
    }

    /// What became of a port, as far as it is an event; with the call that awakened it, if one did.
    pub fn from_transition(
        transition: &Transition,
        call: Option<&Self>,
        context: &EventContext,
    ) -> Option<Self> {
        let event = |name| Self {
            socket: Some(SocketFields::of_port(transition.port)),
            ..Self::new(name, transition.time, context)
        };
        match transition.change {
            Change::Awakened { wake, dormant_for } => {
                let call = call.filter(|_| wake.cause() == Cause::Bind).cloned();
                let mut event = match call {
                    Some(call) => Self { name: EventName::Awakened, ..call },
                    None => event(EventName::Awakened),
                };
                if let Some(socket) = &mut event.socket {
                    socket.transport = Some(wake.protocol().name());
                }
                event.dormant_for_seconds = Some(dormant_for.as_secs_f64());
                event.reason = Some(wake.to_string());
                event.cause = Some(wake.cause());
                Some(event)
            }
            Change::Dormant => Some(event(EventName::Dormant)),
            Change::State { .. } => None,
        }
    }

    /// The agent is at work since `time`.
    pub fn agent_started(time: Timestamp, version: &'static str, context: &EventContext) -> Self {
        Self { agent_version: Some(version), ..Self::new(EventName::AgentStarted, time, context) }
    }

    /// The agent ends at `time`, because of `reason`.
    pub fn agent_stopped(time: Timestamp, reason: &str, context: &EventContext) -> Self {
        Self {
            reason: Some(reason.to_owned()),
            ..Self::new(EventName::AgentStopped, time, context)
        }
    }

    /// The hook is served as `status` says since `time`.
    pub fn hook_changed(time: Timestamp, status: &HookStatus, context: &EventContext) -> Self {
        let reasons: Vec<String> = status
            .passed_over
            .iter()
            .map(|passed| format!("{}: {}", passed.mechanism, passed.why))
            .collect();
        Self {
            hook: Some(HookFields {
                hook: status.hook.name(),
                interface: status.interface.clone(),
            }),
            mechanism: status.attached.map(|mechanism| mechanism.name()),
            reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
            ..Self::new(EventName::HookChanged, time, context)
        }
    }

    /// The event as one line of JSON, with its line feed.
    pub fn to_line(&self) -> serde_json::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }

    fn new(name: EventName, time: Timestamp, context: &EventContext) -> Self {
        Self {
            schema: SCHEMA,
            time,
            name,
            host_name: context.host_name.clone(),
            socket: None,
            caller: None,
            expected: None,
            dormant_for_seconds: None,
            conversation: None,
            hook: None,
            agent_version: None,
            mechanism: None,
            reason: None,
            cause: None,
        }
    }
}

impl SocketFields {
    /// Of which only the port is known.
    fn of_port(port: u16) -> Self {
        Self {
            transport: None,
            network_type: None,
            local_address: None,
            local_port: Some(port),
            service: catalogue::lookup(port).map(|service| service.name),
            result: None,
            errno: None,
            netns_inode: None,
        }
    }

    /// Of which the local end is known.
    fn at(protocol: Protocol, local: SocketAddr) -> Self {
        Self {
            transport: Some(protocol.name()),
            network_type: network_type(if local.is_ipv4() { 4 } else { 6 }),
            local_address: Some(local.ip()),
            ..Self::of_port(local.port())
        }
    }

    fn new(record: &SocketEvent, kind: SocketEventKind) -> Self {
        let is_bind = kind == SocketEventKind::Bind;
        let family = (record.known & known::FAMILY != 0).then_some(record.family);
        Self {
            transport: Protocol::from_ip_number(record.protocol).map(Protocol::name),
            network_type: family.and_then(network_type),
            local_address: family
                .filter(|_| record.known & known::ADDRESS != 0)
                .and_then(|family| ip_address(family, record.address)),
            local_port: (record.port != 0).then_some(record.port),
            service: catalogue::lookup(record.port).map(|service| service.name),
            result: is_bind.then(|| BindResult::from_errno(record.errno).name()),
            errno: (is_bind && record.errno != 0).then(|| Errno::from(record.errno)),
            netns_inode: (record.known & known::NETNS != 0).then_some(record.netns_inode),
        }
    }
}

impl CallerFields {
    /// `None` for a call in interrupt context, which no process made.
    fn new(
        record: &SocketEvent,
        command_line: Option<&[u8]>,
        context: &EventContext,
    ) -> Option<Self> {
        let knows = |bit| record.known & bit != 0;
        (record.tgid != 0).then(|| Self {
            pid: record.tgid,
            parent_pid: knows(known::PARENT).then_some(record.parent_tgid),
            creation_time: context
                .time_of_day(record.start_time_ns)
                .filter(|_| knows(known::START_TIME)),
            executable_name: text::name(&record.process_name)
                .filter(|_| knows(known::PROCESS_NAME)),
            command_args: command_line.map(text::arguments),
            command_args_truncated: command_line
                .is_some_and(|bytes| bytes.len() < record.command_line_len as usize),
            thread_id: (record.pid != 0).then_some(record.pid),
            thread_name: text::name(&record.thread_name),
            user_id: knows(known::EFFECTIVE_UID).then_some(record.effective_uid),
            real_user_id: Some(record.uid),
            real_group_id: Some(record.gid),
            cgroup_id: (record.cgroup_id != 0).then_some(record.cgroup_id),
            identity: IdentityFields::default(),
        })
    }

    /// A process of which nothing was captured.
    fn of(identity: &Identity) -> Self {
        let id = |user: &Option<User>| user.as_ref().map(|user| user.id);
        let mut caller = Self {
            pid: identity.pid,
            user_id: id(&identity.effective_user),
            real_user_id: id(&identity.real_user),
            ..Self::default()
        };
        caller.complete(identity);
        caller
    }

    /// Adds what was found out about the caller; what the kernel side captured at the moment of the
    /// call stays.
    fn complete(&mut self, identity: &Identity) {
        self.parent_pid = self.parent_pid.or(identity.parent_pid);
        self.creation_time = self.creation_time.or(identity.creation_time);
        if self.executable_name.is_none() {
            self.executable_name.clone_from(&identity.name);
        }
        if let Some(CommandLine { arguments, is_truncated }) = &identity.command_line {
            self.command_args = Some(arguments.clone());
            self.command_args_truncated = *is_truncated;
        }
        self.identity = IdentityFields::from(identity);
    }
}

impl From<&Identity> for IdentityFields {
    fn from(identity: &Identity) -> Self {
        let name = |user: &Option<User>| user.as_ref().and_then(|user| user.name.clone());
        let cgroup = identity.cgroup.as_deref();
        let unit = cgroup.and_then(|cgroup| cgroup.unit.as_ref());
        Self {
            executable_path: identity.executable.as_ref().map(|exe| exe.path.clone()),
            executable_deleted: identity.executable.as_ref().is_some_and(|exe| exe.is_deleted),
            user_name: name(&identity.effective_user),
            real_user_name: name(&identity.real_user),
            cgroup: cgroup.map(|cgroup| cgroup.path.clone()),
            container_id: cgroup.and_then(|cgroup| cgroup.container_id.clone()),
            pod_uid: cgroup.and_then(|cgroup| cgroup.pod_uid.clone()),
            systemd_unit: unit.map(|unit| unit.name.clone()),
            ancestors: identity.ancestors.iter().map(AncestorFields::from).collect(),
        }
    }
}

impl From<&Ancestor> for AncestorFields {
    fn from(ancestor: &Ancestor) -> Self {
        Self {
            pid: ancestor.pid,
            name: ancestor.name.clone(),
            executable: ancestor.executable.as_ref().map(|exe| exe.path.clone()),
        }
    }
}

impl From<u32> for Errno {
    /// The error numbers of the generic ABI that `bind(2)` and the hooks around it can return
    /// (`asm-generic/errno-base.h`, `errno.h`).
    fn from(number: u32) -> Self {
        match number {
            1 => Self::Name("EPERM"),
            9 => Self::Name("EBADF"),
            11 => Self::Name("EAGAIN"),
            12 => Self::Name("ENOMEM"),
            13 => Self::Name("EACCES"),
            14 => Self::Name("EFAULT"),
            19 => Self::Name("ENODEV"),
            22 => Self::Name("EINVAL"),
            88 => Self::Name("ENOTSOCK"),
            95 => Self::Name("EOPNOTSUPP"),
            97 => Self::Name("EAFNOSUPPORT"),
            98 => Self::Name("EADDRINUSE"),
            99 => Self::Name("EADDRNOTAVAIL"),
            105 => Self::Name("ENOBUFS"),
            _ => Self::Number(number),
        }
    }
}

fn network_type(family: u8) -> Option<&'static str> {
    match family {
        4 => Some("ipv4"),
        6 => Some("ipv6"),
        _ => None,
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
const fn is_false(value: &bool) -> bool {
    !*value
}

fn optional_nanosecond_rfc3339<S: Serializer>(
    time: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => nanosecond_rfc3339(time, serializer),
        None => serializer.serialize_none(),
    }
}

fn nanosecond_rfc3339<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.9}"))
}
