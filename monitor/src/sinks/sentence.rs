//! An event in one sentence, for those who read logs, and how much it matters. Pure.

use std::time::Duration;

use crate::{
    config::quantity,
    event::{Errno, Event, EventName},
};

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// For the record.
    Info,
    /// Somebody should look at it.
    Warning,
}

impl Severity {
    pub(super) const fn of(event: &Event) -> Self {
        match event.name {
            EventName::Awakened | EventName::UnexpectedOwner => Self::Warning,
            EventName::HookChanged if event.mechanism.is_none() => Self::Warning,
            _ => Self::Info,
        }
    }
}

/// What has happened, and who did it.
pub(super) fn sentence(event: &Event) -> String {
    let (who, port) = (who(event), port(event));
    let reason = || event.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    match event.name {
        EventName::Bind => format!("{who} bound {port}"),
        EventName::BindFailed => format!("{who} was refused {port}{}", errno(event)),
        EventName::Listen => format!("{who} listens on {port}"),
        EventName::Close => format!("{who} gave {port} back"),
        EventName::Awakened => format!("{port} awakened{}{}", slept(event), reason()),
        EventName::Dormant => format!("{port} is dormant"),
        EventName::Identified => format!("{} on {port}{}", verdict(event), reason()),
        EventName::UnexpectedOwner => format!("{who} is not expected on {port}, and bound it"),
        EventName::AgentStarted => "the agent is at work".into(),
        EventName::AgentStopped => format!("the agent ends{}", reason()),
        EventName::HookChanged => hook(event),
    }
}

/// `http`, or that nobody knows.
fn verdict(event: &Event) -> &'static str {
    event.conversation.as_ref().map_or("something", |conversation| conversation.verdict.name())
}

/// `nc[4711]`, as far as it is known.
pub(super) fn who(event: &Event) -> String {
    let Some(caller) = &event.caller else { return "somebody".into() };
    let name = caller.executable_name.as_deref().or(caller.thread_name.as_deref());
    format!("{}[{}]", name.unwrap_or("process "), caller.pid)
}

/// `port 2948/tcp (wap-push)`, as far as it is known.
pub(super) fn port(event: &Event) -> String {
    let Some(socket) = &event.socket else { return "a port".into() };
    let number = event.port().map_or("?".into(), |port| port.to_string());
    let transport = socket.transport.map(|name| format!("/{name}")).unwrap_or_default();
    let service = socket.service.map(|name| format!(" ({name})")).unwrap_or_default();
    format!("port {number}{transport}{service}")
}

/// How long the port had slept, in words of its own.
pub(super) fn slept_for(event: &Event) -> Option<String> {
    let slept = Duration::try_from_secs_f64(event.dormant_for_seconds?).ok()?;
    (slept.as_secs() > 0).then(|| quantity::format_duration(Duration::from_secs(slept.as_secs())))
}

fn slept(event: &Event) -> String {
    slept_for(event).map(|slept| format!(" after {slept}")).unwrap_or_default()
}

fn errno(event: &Event) -> String {
    match event.socket.as_ref().and_then(|socket| socket.errno) {
        Some(Errno::Name(name)) => format!(": {name}"),
        Some(Errno::Number(number)) => format!(": error {number}"),
        None => String::new(),
    }
}

fn hook(event: &Event) -> String {
    let Some(hook) = &event.hook else { return "a hook has changed".into() };
    let interface = hook.interface.as_deref().map(|name| format!(" of {name}")).unwrap_or_default();
    match event.mechanism {
        Some(mechanism) => format!("the hook {}{interface} is served by {mechanism}", hook.hook),
        None => format!("the hook {}{interface} is not attached", hook.hook),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::testing;

    #[test]
    fn every_event_is_a_sentence() {
        let sentences: Vec<String> =
            EventName::ALL.into_iter().map(|name| sentence(&testing::event(name))).collect();
        assert_eq!(
            sentences,
            [
                "nc[4711] bound port 2948/tcp (wap-push)",
                "nc[4711] was refused port 2948/tcp (wap-push)",
                "nc[4711] listens on port 2948/tcp (wap-push)",
                "nc[4711] gave port 2948/tcp (wap-push) back",
                "port 2948/tcp (wap-push) awakened after 1m30s: tcp bind",
                "port 2948/tcp (wap-push) is dormant",
                "something on port 2948/tcp (wap-push): tcp bind",
                "nc[4711] is not expected on port 2948/tcp (wap-push), and bound it",
                "the agent is at work",
                "the agent ends: tcp bind",
                "a hook has changed",
            ]
        );
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let event = Event {
            caller: None,
            socket: None,
            reason: None,
            ..testing::event(EventName::BindFailed)
        };
        assert_eq!(sentence(&event), "somebody was refused a port");
    }
}
