//! Events that are no record of the kernel side: findings, transitions of ports, sockets that were
//! found open, hooks, and the agent itself.

use std::{net::SocketAddr, sync::Arc};

use jiff::Timestamp;
use monitor_common::flow::{Protocol, Side};
use monitor_identify::Identification;
use monitor_kernel::hooks::HookStatus;
use monitor_ledger::{Cause, Change, Transition, Wake};

use super::{
    body::{
        Answered, Awakened, AwakenedBy, Bind, Call, Captured, Event, EventBody, ExecutableFound,
        HookOutcome, Identified, Selftest, UnexpectedOwner,
    },
    caller::CallerFields,
    context::EventContext,
    socket::{SocketFields, service},
};
use crate::{
    classification::Finding,
    config::PayloadConfig,
    process::{ExecutableFacts, Identity},
    secrets,
    sockets::{Capture, Reach, Socket},
};

impl Event {
    /// A finding. `interface` is the name of the interface that the packet crossed. `None` if the
    /// time of the finding is outside the range of the calendar.
    pub fn identified(
        finding: &Finding,
        interface: Option<&str>,
        config: PayloadConfig,
        context: &EventContext,
    ) -> Option<Self> {
        let time = context.time_of_day(finding.time_ns)?;
        let payload = finding.payload.as_ref();
        let Identification { verdict, grade, reason, details } = &finding.identification;
        let body = EventBody::Identified(Identified {
            socket: SocketFields {
                service: service(finding.port),
                ..SocketFields::at(finding.protocol, finding.local)
            },
            port: finding.port,
            peer: finding.peer,
            interface: interface.map(ToOwned::to_owned),
            direction: finding.direction,
            identification: Identification {
                details: secrets::disclosed(details, config.details),
                verdict: *verdict,
                grade: *grade,
                reason: reason.clone(),
            },
            payload_size: payload.map(|payload| payload.size),
            kept: payload.and_then(|payload| payload.kept(config.keep)),
        });
        Some(Self::new(time, body, context))
    }

    /// The event of an unexpected owner, if this is a bind that succeeded and whose caller the
    /// configuration does not expect.
    pub fn unexpected_owner(&self) -> Option<Self> {
        let EventBody::Bind(Bind { call, expected: Some(false) }) = &self.body else { return None };
        let body = EventBody::UnexpectedOwner(UnexpectedOwner::Bound(call.clone()));
        Some(Self { body, ..self.clone() })
    }

    /// The event of an unexpected owner, if this is a bind whose caller could not be judged then, and does
    /// not match for this reason.
    pub fn owner_that_differs(&self, reason: String) -> Option<Self> {
        let EventBody::Bind(Bind { call, .. }) = &self.body else { return None };
        let body = UnexpectedOwner::Differs { call: call.clone(), reason };
        Some(Self { body: EventBody::UnexpectedOwner(body), ..self.clone() })
    }

    /// A socket that was found open at `time`, whose holder the configuration does not expect. Its bind
    /// was not seen, or was another one's and `is_passed_on`.
    pub fn unexpected_holder(
        socket: &Socket,
        holder: Option<&Identity>,
        is_passed_on: bool,
        time: Timestamp,
        context: &EventContext,
    ) -> Self {
        let found = UnexpectedOwner::FoundOpen {
            socket: SocketFields { is_of_kernel: false, ..SocketFields::found(socket) },
            holder: holder.map(CallerFields::found),
            is_passed_on,
        };
        Self::new(time, EventBody::UnexpectedOwner(found), context)
    }

    /// A socket that was found at `time` to take packets of watched ports.
    pub fn captured(capture: &Capture, time: Timestamp, context: &EventContext) -> Self {
        let taken = capture.scope.ports();
        let mut ports: Vec<u16> = taken.iter().map(|taken| taken.port).collect();
        ports.sort_unstable();
        ports.dedup();
        let first = taken.first();
        let protocol = first.map(|first| first.protocol);
        let is_only = taken.iter().all(|taken| Some(taken.protocol) == protocol);
        let captured = Captured {
            socket: SocketFields {
                transport: protocol.filter(|_| is_only),
                service: first.filter(|_| ports.len() == 1).and_then(|first| service(first.port)),
                netns_inode: capture.netns_inode,
                ..SocketFields::unknown()
            },
            ports,
            kind: capture.kind,
            filter: capture.filter(),
            is_targeted: capture.is_targeted(),
            holder: capture.holders.first().map(|holder| CallerFields::found(holder)),
        };
        Self::new(time, EventBody::Captured(captured), context)
    }

    /// A transition of a port, if it is one that makes an event. `call` is the event of the call
    /// that caused it, if a call did: a bind, or, of packets, a connect. `sender` is who sent the packet
    /// that awakened it, where that is known.
    pub fn from_transition(
        transition: &Transition,
        call: Option<&Self>,
        sender: Option<SocketAddr>,
        context: &EventContext,
    ) -> Option<Self> {
        let port = SocketFields::on_port(transition.port);
        let body = match transition.change {
            Change::Awakened { wake, dormant_for } => {
                let is_connect = |call: &&Self| matches!(call.body, EventBody::Connect(_));
                let call = call.filter(|call| (wake.cause() == Cause::Packet) == is_connect(call));
                let is_to_port = matches!(wake, Wake::Packet { side: Side::Local, .. });
                let mut by = match (call.and_then(AwakenedBy::call_of), sender) {
                    (Some(by), _) => by,
                    (None, Some(sender)) if is_to_port => AwakenedBy::Sender(port, sender),
                    (None, _) => AwakenedBy::Port(port),
                };
                let socket = by.socket_mut();
                socket.transport = Some(wake.protocol());
                socket.local_port = Some(transition.port);
                EventBody::Awakened(Awakened { by, wake, dormant_for })
            }
            Change::Dormant => EventBody::Dormant(port),
            // See `Event::answered`, which needs more than the transition.
            Change::Answered { .. } | Change::State { .. } => return None,
        };
        Some(Self::new(transition.time, body, context))
    }

    /// A port that no socket holds gave this many answers on the way `reach`.
    pub fn answered(
        port: u16,
        protocol: Protocol,
        answers: u64,
        reach: Reach,
        time: Timestamp,
        context: &EventContext,
    ) -> Self {
        let socket = SocketFields { transport: Some(protocol), ..SocketFields::on_port(port) };
        Self::new(time, EventBody::Answered(Answered { socket, answers, reach }), context)
    }

    /// What was found out, at `time`, about the file that `process` executes. It belongs to an event about
    /// `socket` and `port`.
    pub fn executable(
        socket: SocketFields,
        port: Option<u16>,
        process: &Identity,
        facts: Arc<ExecutableFacts>,
        time: Timestamp,
        context: &EventContext,
    ) -> Self {
        let mut process = CallerFields::found(process);
        process.identity.executable_deleted |= facts.is_deleted;
        let found = ExecutableFound { socket, port, process, facts };
        Self::new(time, EventBody::Executable(Box::new(found)), context)
    }

    /// A selftest at this address ended at `time`. `call` is its first call, if one was seen.
    pub fn selftest(
        time: Timestamp,
        at: SocketAddr,
        call: Option<Call>,
        failure: Option<String>,
        context: &EventContext,
    ) -> Self {
        let (socket, caller) = match call {
            Some(Call { socket, caller, .. }) => (socket, caller),
            None => (SocketFields::at(Protocol::Udp, at), None),
        };
        let selftest = Selftest { socket, caller, failure };
        Self::new(time, EventBody::Selftest(selftest), context)
    }

    /// The agent started at `time`, with these hooks.
    pub fn agent_started(
        time: Timestamp,
        version: &'static str,
        hooks: &[HookStatus],
        context: &EventContext,
    ) -> Self {
        let hooks = hooks.iter().map(HookOutcome::from).collect();
        Self::new(time, EventBody::AgentStarted { version, hooks }, context)
    }

    /// The agent stops at `time`.
    pub fn agent_stopped(time: Timestamp, reason: &str, context: &EventContext) -> Self {
        Self::new(time, EventBody::AgentStopped { reason: reason.to_owned() }, context)
    }

    /// A hook has the state `status` since `time`.
    pub fn hook_changed(time: Timestamp, status: &HookStatus, context: &EventContext) -> Self {
        Self::new(time, EventBody::HookChanged(status.into()), context)
    }
}

impl From<&HookStatus> for HookOutcome {
    fn from(status: &HookStatus) -> Self {
        let reasons: Vec<String> = status
            .rejected
            .iter()
            .map(|rejected| format!("{}: {}", rejected.mechanism, rejected.why))
            .collect();
        Self {
            hook: status.hook,
            interface: status.interface.clone(),
            mechanism: status.attached,
            reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
        }
    }
}

impl AwakenedBy {
    /// The call that `event` is about.
    fn call_of(event: &Event) -> Option<Self> {
        match &event.body {
            EventBody::Bind(bind) => Some(Self::Bind(bind.clone())),
            EventBody::BindFailed(failed) => Some(Self::FailedBind(failed.clone())),
            EventBody::Listen(of) | EventBody::Close(of) => Some(Self::Call(of.call.clone())),
            EventBody::Connect(connect) => Some(Self::Connect(Box::new(connect.clone()))),
            _ => None,
        }
    }
}
