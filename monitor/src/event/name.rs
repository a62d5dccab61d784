//! Names of events.

use serde::Serialize;

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
    /// A socket on a watched port was closed.
    #[serde(rename = "ghostport.close")]
    Close,
    /// Something happened at a port that was dormant.
    #[serde(rename = "ghostport.awakened")]
    Awakened,
    /// A port was quiet for long enough to count as dormant.
    #[serde(rename = "ghostport.dormant")]
    Dormant,
    /// Packets were answered from a watched port that no socket of this host holds.
    #[serde(rename = "ghostport.answered")]
    Answered,
    /// A socket takes packets of watched ports without holding the ports.
    #[serde(rename = "ghostport.captured")]
    Captured,
    /// A payload or a connection attempt was identified.
    #[serde(rename = "ghostport.identified")]
    Identified,
    /// A process that the configuration does not expect bound a watched port.
    #[serde(rename = "ghostport.unexpected_owner")]
    UnexpectedOwner,
    /// The agent started.
    #[serde(rename = "ghostport.agent_started")]
    AgentStarted,
    /// The agent stops.
    #[serde(rename = "ghostport.agent_stopped")]
    AgentStopped,
    /// A hook is served by another mechanism than before, or by none.
    #[serde(rename = "ghostport.hook_changed")]
    HookChanged,
    /// Events alike that were not emitted one by one.
    #[serde(rename = "ghostport.summary")]
    Summary,
    /// A selftest of the agent ended.
    #[serde(rename = "ghostport.selftest")]
    Selftest,
    /// A process sends to a watched port of another host.
    #[serde(rename = "ghostport.connect")]
    Connect,
    /// What was found out about the file that a process executes.
    #[serde(rename = "ghostport.executable")]
    Executable,
    /// A socket listens where the baseline has none.
    #[serde(rename = "ghostport.listener_new")]
    ListenerNew,
    /// A socket listens where the baseline has another one.
    #[serde(rename = "ghostport.listener_changed")]
    ListenerChanged,
    /// A socket no longer listens.
    #[serde(rename = "ghostport.listener_gone")]
    ListenerGone,
    /// A socket listens that neither the baseline nor the configuration has.
    #[serde(rename = "ghostport.listener_unexpected")]
    ListenerUnexpected,
}

impl EventName {
    /// Every kind.
    pub const ALL: [Self; 21] = [
        Self::Bind,
        Self::BindFailed,
        Self::Listen,
        Self::Close,
        Self::Awakened,
        Self::Dormant,
        Self::Answered,
        Self::Captured,
        Self::Identified,
        Self::UnexpectedOwner,
        Self::AgentStarted,
        Self::AgentStopped,
        Self::HookChanged,
        Self::Summary,
        Self::Selftest,
        Self::Connect,
        Self::Executable,
        Self::ListenerNew,
        Self::ListenerChanged,
        Self::ListenerGone,
        Self::ListenerUnexpected,
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
            Self::Answered => "answered",
            Self::Captured => "captured",
            Self::Identified => "identified",
            Self::UnexpectedOwner => "unexpected_owner",
            Self::AgentStarted => "agent_started",
            Self::AgentStopped => "agent_stopped",
            Self::HookChanged => "hook_changed",
            Self::Summary => "summary",
            Self::Selftest => "selftest",
            Self::Connect => "connect",
            Self::Executable => "executable",
            Self::ListenerNew => "listener_new",
            Self::ListenerChanged => "listener_changed",
            Self::ListenerGone => "listener_gone",
            Self::ListenerUnexpected => "listener_unexpected",
        }
    }

    /// The whole name, the value of `event.name`.
    pub fn full_name(self) -> String {
        format!("ghostport.{}", self.kind())
    }

    /// The name whose [`Self::kind`] is `kind`.
    pub fn from_kind(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.kind() == kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_the_names_without_their_prefix() {
        for name in EventName::ALL {
            let full = serde_json::to_value(name).expect("a name");
            assert_eq!(full, format!("ghostport.{}", name.kind()));
            assert_eq!(full, name.full_name());
            assert_eq!(EventName::from_kind(name.kind()), Some(name));
        }
    }
}
