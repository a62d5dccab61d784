//! An event as a sentence for logs. Pure.

use std::time::Duration;

use monitor_ledger::listeners::{Difference, Scope};

use crate::{
    config::quantity,
    event::{
        Answered, Awakened, AwakenedBy, CallerFields, Captured, Errno, Event, EventBody,
        FailedBind, HookOutcome, Identified, ListenerNews, Listening, Listens, Repeats, Summary,
    },
    sockets::Reach,
};

/// What happened, with the process where one is known.
pub(super) fn sentence(event: &Event) -> String {
    let sentence = body(&event.body, &caller(event), &port(event));
    match &event.repeats {
        Some(Repeats { count, .. }) => format!("{sentence} ({count} times)"),
        None => sentence,
    }
}

fn body(body: &EventBody, caller: &str, port: &str) -> String {
    match body {
        EventBody::Bind(_) => format!("{caller} bound {port}"),
        EventBody::BindFailed(failed) => format!("{caller} was refused {port}: {}", error(failed)),
        EventBody::Listen(_) => format!("{caller} listens on {port}"),
        EventBody::Close(_) => format!("{caller} gave {port} back"),
        EventBody::Awakened(awakened) => {
            let after = dormancy(awakened).map(|dormancy| format!(" after {dormancy}"));
            let sender = match &awakened.by {
                AwakenedBy::Sender(_, peer) => format!(" from {}", peer.ip()),
                _ => String::new(),
            };
            format!("{port} awakened{}: {}{sender}", after.unwrap_or_default(), awakened.wake)
        }
        EventBody::Answered(answered) => reached(port, answered),
        EventBody::Captured(captured) => taken(caller, captured),
        EventBody::Dormant(_) => format!("{port} is dormant"),
        EventBody::Identified(identified) => conversation(identified, port),
        EventBody::Summary(Summary::Conversations(of)) => conversation(&of.last, port),
        EventBody::Summary(Summary::Calls { last, .. } | Summary::Expected { last }) => {
            self::body(last, caller, port)
        }
        EventBody::UnexpectedOwner(_) => {
            format!("{caller} is not expected on {port}, and bound it")
        }
        EventBody::AgentStarted { .. } => "the agent is at work".into(),
        EventBody::AgentStopped { reason } => format!("the agent ends: {reason}"),
        EventBody::HookChanged(changed) => hook(changed),
        EventBody::Connect(connect) => match connect.peer_address {
            Some(address) => format!("{caller} sends to {port} of {address}"),
            None => format!("{caller} sends to {port} of another host"),
        },
        EventBody::Executable(found) => {
            let path = found.process.identity.executable_path.as_deref();
            let path = path.unwrap_or("an unknown file");
            format!("{caller} executes {path}: {}", found.facts.sentence())
        }
        EventBody::Listener(listening) => listener(listening, caller, port),
        EventBody::Selftest(selftest) => match &selftest.failure {
            Some(failure) => format!("a selftest on {port} failed: {failure}"),
            None => format!("a selftest on {port} passed"),
        },
    }
}

/// `nc[4711]`, as far as it is known.
pub(super) fn caller(event: &Event) -> String {
    let Some(caller) = event.caller() else { return "an unknown process".into() };
    let CallerFields { executable_name, thread_name, pid, .. } = caller;
    let name = executable_name.as_deref().or(thread_name.as_deref());
    format!("{}[{pid}]", name.unwrap_or("process "))
}

/// `port 2948/tcp (wap-push)`, as far as it is known.
pub(super) fn port(event: &Event) -> String {
    let (Some(socket), Some(number)) = (event.socket(), event.port()) else {
        return "a port".into();
    };
    let transport = socket.transport.map(|protocol| format!("/{}", protocol.name()));
    let service = socket.service.map(|name| format!(" ({name})"));
    format!("port {number}{}{}", transport.unwrap_or_default(), service.unwrap_or_default())
}

/// How long the port was dormant, in words; `None` for less than a second.
pub(super) fn dormancy(awakened: &Awakened) -> Option<String> {
    let seconds = awakened.dormant_for.as_secs();
    (seconds > 0).then(|| quantity::format_duration(Duration::from_secs(seconds)))
}

fn error(failed: &FailedBind) -> String {
    match failed.error() {
        Errno::Name(name) => name.to_owned(),
        Errno::Number(number) => format!("error {number}"),
    }
}

fn conversation(identified: &Identified, port: &str) -> String {
    let identification = &identified.identification;
    format!("{} on {port}: {}", identification.verdict.name(), identification.reason)
}

fn reached(port: &str, answered: &Answered) -> String {
    let Reach { path, target } = &answered.reach;
    let target = target.as_ref().map(|target| format!(" to {target}"));
    format!("{port} is answered by {}{}", path.name(), target.unwrap_or_default())
}

fn taken(caller: &str, captured: &Captured) -> String {
    let kind = captured.kind.name().replace('_', " ");
    format!("{caller} takes packets by {kind}: {}", captured.filter)
}

fn listener(listening: &Listening, caller: &str, port: &str) -> String {
    let place = match listening.ports.as_slice() {
        [] => port.to_owned(),
        [first, ..] => format!("ports from {first}"),
    };
    let reach = match listening.scope {
        Scope::Host => "from this host",
        Scope::World => "from elsewhere",
    };
    let program = match &listening.by {
        Listens::Process(_) => caller.to_owned(),
        Listens::Program(program) => {
            program.executable_path.clone().unwrap_or_else(|| "an unknown program".to_owned())
        }
    };
    match &listening.kind {
        ListenerNews::New => format!("{program} listens on {place}, where none did, {reach}"),
        ListenerNews::Changed(changes) => {
            let changes: Vec<String> = changes.iter().map(change).collect();
            format!("{program} listens on {place} as another one did: {}", changes.join(", "))
        }
        ListenerNews::Gone => format!("{program} no longer listens on {place}"),
        ListenerNews::Unexpected => {
            format!("{program} is not expected to listen on {place}, {reach}")
        }
    }
}

/// What differs: `user root → www-data`.
pub(super) fn change(change: &Difference) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    format!("{} {} → {}", change.field.name(), text(&change.from), text(&change.to))
}

fn hook(changed: &HookOutcome) -> String {
    let hook = changed.hook.name();
    let interface = changed.interface.as_deref().map(|name| format!(" of {name}"));
    let interface = interface.unwrap_or_default();
    match changed.mechanism {
        Some(mechanism) => format!("the hook {hook}{interface} is served by {mechanism}"),
        None => format!("the hook {hook}{interface} is not attached"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::EventName, sinks::testing};

    #[test]
    fn every_event_is_a_sentence() {
        let sentences: Vec<String> =
            EventName::ALL.into_iter().map(|name| sentence(&testing::event(name))).collect();
        assert_eq!(
            sentences,
            [
                "nc[4711] bound port 2948/tcp (wap-push)",
                "nc[4711] was refused port 2948/tcp (wap-push): EADDRINUSE",
                "nc[4711] listens on port 2948/tcp (wap-push)",
                "nc[4711] gave port 2948/tcp (wap-push) back",
                "port 2948/tcp (wap-push) awakened after 1m30s: tcp bind",
                "port 2948/tcp (wap-push) is dormant",
                "port 2948/tcp (wap-push) is answered by redirect to 127.0.0.1:8080",
                "nc[4711] takes packets by packet socket: only port 2948/tcp",
                "http on port 2948/tcp (wap-push): a method and a target of HTTP, then HTTP/1",
                "nc[4711] is not expected on port 2948/tcp (wap-push), and bound it",
                "the agent is at work",
                "the agent ends: SIGTERM",
                "the hook ingress of eth0 is not attached",
                "nc[4711] bound port 2948/tcp (wap-push) (120 times)",
                "a selftest on port 2948/tcp (wap-push) failed: not seen: close by fexit",
                "nc[4711] sends to port 2948/tcp (wap-push) of 192.0.2.7",
                "nc[4711] executes /usr/bin/nc: sha256 ab12, package netcat-openbsd 1.229-1, unmodified",
                "nc[4711] listens on port 2948/tcp (wap-push), where none did, from elsewhere",
                "nc[4711] listens on port 2948/tcp (wap-push) as another one did: executable /usr/bin/ncat → /usr/bin/nc",
                "nc[4711] no longer listens on port 2948/tcp (wap-push)",
                "nc[4711] is not expected to listen on port 2948/tcp (wap-push), from elsewhere",
            ]
        );
    }

    #[test]
    fn unknown_fields_are_left_out() {
        let mut event = testing::event(EventName::BindFailed);
        let EventBody::BindFailed(failed) = &mut event.body else { panic!("a refused bind") };
        failed.bind.call.caller = None;
        failed.bind.call.socket.local_port = None;
        assert_eq!(sentence(&event), "an unknown process was refused a port: EADDRINUSE");
    }
}
