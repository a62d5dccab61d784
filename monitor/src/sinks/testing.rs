//! Events with everything that a sink may write, for the tests of the sinks.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use jiff::Timestamp;
use monitor_common::{
    flow::{Direction, Protocol},
    socket_event::Mechanism,
    socket_record::Family,
};
use monitor_identify::{Payload, identify};
use monitor_kernel::hooks::Hook;
use monitor_ledger::{
    BindEvidence, Wake,
    listeners::{Difference, Field, Scope},
};

use crate::event::{
    Answered, Awakened, AwakenedBy, Bind, Call, CallerFields, Captured, Connect, EncodedEvent,
    Event, EventBody, EventContext, EventName, ExecutableFound, FailedBind, HookOutcome,
    Identified, IdentityFields, ListenerNews, Listening, Listens, Repeats, Selftest, SocketFields,
    Summary, UnexpectedOwner,
};
use crate::process::{ExecutableFacts, FileFacts, Package};
use crate::sockets::{CaptureKind, Path, Reach};

/// An event of `nc[4711]` and TCP port 2948 of `web1`.
pub(super) fn event(name: EventName) -> Event {
    let context = EventContext { host_name: "web1".into(), clock_offset_ns: 0 };
    let time = Timestamp::new(1, 1).expect("a time");
    let repeats = Repeats { count: 120, first: time, last: time };
    let repeats = (name == EventName::Summary).then_some(repeats);
    Event { repeats, ..Event::new(time, body(name), &context) }
}

/// A port that awakened because of a bind that was refused.
pub(super) fn awakened_by_refused_bind() -> Event {
    let EventBody::BindFailed(failed) = body(EventName::BindFailed) else {
        unreachable!("the body of that name")
    };
    let body = awakened(AwakenedBy::FailedBind(failed), BindEvidence::Refused);
    Event { body, ..event(EventName::Awakened) }
}

fn body(name: EventName) -> EventBody {
    match name {
        EventName::Bind => EventBody::Bind(bind()),
        EventName::BindFailed => EventBody::BindFailed(FailedBind {
            bind: bind(),
            errno: NonZeroU32::new(98).expect("not zero"),
            held_by: None,
        }),
        EventName::Listen => EventBody::Listen(bind()),
        EventName::Close => EventBody::Close(bind()),
        EventName::Awakened => awakened(AwakenedBy::Bind(bind()), BindEvidence::Bound),
        EventName::Dormant => EventBody::Dormant(socket()),
        EventName::Answered => EventBody::Answered(Answered {
            socket: socket(),
            answers: 3,
            reach: Reach { path: Path::Redirect, target: Some("127.0.0.1:8080".into()) },
        }),
        EventName::Captured => EventBody::Captured(Captured {
            socket: SocketFields { local_port: None, ..socket() },
            ports: vec![2948],
            kind: CaptureKind::PacketSocket,
            filter: "only port 2948/tcp".into(),
            is_targeted: true,
            holder: Some(caller()),
        }),
        EventName::Identified => EventBody::Identified(identified()),
        EventName::UnexpectedOwner => EventBody::UnexpectedOwner(UnexpectedOwner::Bound(call())),
        EventName::AgentStarted => EventBody::AgentStarted { version: "0.1.0", hooks: Vec::new() },
        EventName::AgentStopped => EventBody::AgentStopped { reason: "SIGTERM".into() },
        EventName::HookChanged => EventBody::HookChanged(HookOutcome {
            hook: Hook::Ingress,
            interface: Some("eth0".into()),
            mechanism: None,
            reason: Some("xdp-native: not allowed".into()),
        }),
        EventName::Summary => EventBody::Summary(Summary::Calls {
            last: Box::new(EventBody::Bind(bind())),
            processes: Some(1),
        }),
        EventName::Connect => EventBody::Connect(Connect {
            call: Call {
                socket: SocketFields { local_address: None, local_port: None, ..socket() },
                ..call()
            },
            peer_address: Some([192, 0, 2, 7].into()),
            port: 2948,
        }),
        EventName::Executable => EventBody::Executable(Box::new(ExecutableFound {
            socket: socket(),
            port: Some(2948),
            process: caller(),
            facts: Arc::new(ExecutableFacts {
                file: FileFacts {
                    path: "/usr/bin/nc".into(),
                    sha256: Some("ab12".into()),
                    package: Some(Package {
                        name: "netcat-openbsd".into(),
                        version: Some("1.229-1".into()),
                        ..Package::default()
                    }),
                    is_modified: Some(false),
                    ..FileFacts::default()
                },
                ..ExecutableFacts::default()
            }),
        })),
        EventName::ListenerNew => listening(ListenerNews::New),
        EventName::ListenerChanged => {
            let (from, to) = (Some("/usr/bin/ncat".into()), Some("/usr/bin/nc".into()));
            listening(ListenerNews::Changed(vec![Difference {
                field: Field::Executable,
                from,
                to,
            }]))
        }
        EventName::ListenerGone => listening(ListenerNews::Gone),
        EventName::ListenerUnexpected => listening(ListenerNews::Unexpected),
        EventName::Selftest => EventBody::Selftest(Selftest {
            socket: socket(),
            caller: Some(caller()),
            failure: Some("not seen: close by fexit".into()),
        }),
    }
}

fn listening(kind: ListenerNews) -> EventBody {
    EventBody::Listener(Listening {
        kind,
        socket: socket(),
        ports: Vec::new(),
        scope: Scope::World,
        by: Listens::Process(Box::new(caller())),
        expected: Some(false),
    })
}

fn awakened(by: AwakenedBy, evidence: BindEvidence) -> EventBody {
    let wake = Wake::Bind { protocol: Protocol::Tcp, evidence, expected: Some(false) };
    EventBody::Awakened(Awakened { by, wake, dormant_for: Duration::from_millis(90_500) })
}

fn bind() -> Bind {
    Bind { call: call(), expected: Some(false) }
}

fn call() -> Call {
    Call { socket: socket(), caller: Some(caller()), mechanism: Mechanism::Fexit }
}

fn socket() -> SocketFields {
    SocketFields {
        transport: Some(Protocol::Tcp),
        family: Some(Family::Ipv4),
        local_address: Some([127, 0, 0, 1].into()),
        local_port: Some(2948),
        service: Some("wap-push"),
        netns_inode: Some(4_026_531_840),
        ..SocketFields::unknown()
    }
}

fn identified() -> Identified {
    let bytes = b"GET / HTTP/1.1\r\n\r\n";
    Identified {
        socket: socket(),
        port: 2948,
        peer: ([192, 0, 2, 7], 40_000).into(),
        interface: Some("eth0".into()),
        direction: Direction::Ingress,
        identification: identify(&Payload {
            bytes,
            wire_len: bytes.len(),
            transport: Some(Protocol::Tcp),
            source_port: Some(40_000),
            destination_port: Some(2948),
            direction: Some(Direction::Ingress),
        }),
        payload_size: Some(bytes.len()),
        kept: None,
    }
}

/// An event about the end of the agent, as it is sent.
pub(super) fn encoded_stop(reason: &str) -> Arc<EncodedEvent> {
    let context = EventContext { host_name: "host".into(), clock_offset_ns: 0 };
    let event = Event::agent_stopped(Timestamp::UNIX_EPOCH, reason, &context);
    Arc::new(EncodedEvent::new(event).expect("JSON"))
}

fn caller() -> CallerFields {
    CallerFields {
        pid: 4711,
        parent_pid: Some(1),
        creation_time: None,
        executable_name: Some("nc".into()),
        command_args: Some(vec!["nc".into(), "-l".into(), "29\n48".into()]),
        command_args_truncated: false,
        thread_id: Some(4711),
        thread_name: None,
        user_id: Some(1000),
        real_user_id: Some(1000),
        real_group_id: Some(1000),
        cgroup_id: None,
        identity: IdentityFields {
            executable_path: Some("/usr/bin/nc".into()),
            user_name: Some("kannel".into()),
            systemd_unit: Some("kannel.service".into()),
            ..IdentityFields::default()
        },
    }
}
