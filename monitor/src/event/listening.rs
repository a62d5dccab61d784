//! What events say of listeners, on watched ports or others.

use monitor_ledger::listeners::{Difference, Program, Scope};
use serde::Serialize;

use super::{
    caller::{CallerFields, IdentityFields},
    name::EventName,
    socket::SocketFields,
};

/// Something about a listener that the baseline does not have, or has no longer.
#[derive(Clone, Debug, PartialEq)]
pub struct Listening {
    /// What it is.
    pub kind: ListenerNews,
    /// The socket; without a port if it stands for several.
    pub socket: SocketFields,
    /// Its ports, if they are several: the first 64.
    pub ports: Vec<u16>,
    /// From where it can be reached.
    pub scope: Scope,
    /// What listens.
    pub by: Listens,
    /// Whether `listeners.expect` names it; `None` of one that is gone.
    pub expected: Option<bool>,
}

/// What is said of a listener.
#[derive(Clone, Debug, PartialEq)]
pub enum ListenerNews {
    /// The baseline has none on its port.
    New,
    /// The baseline has another one on its port.
    Changed(Vec<Difference>),
    /// It no longer listens.
    Gone,
    /// Neither the baseline nor the configuration has it.
    Unexpected,
}

/// What listens.
#[derive(Clone, Debug, PartialEq)]
pub enum Listens {
    /// A process.
    Process(Box<CallerFields>),
    /// A program whose process is not known or has ended.
    Program(Box<IdentityFields>),
}

/// A socket that listens, and its process, as far as they are known.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenListener {
    /// The socket.
    pub socket: SocketFields,
    /// The process.
    pub process: Option<CallerFields>,
}

/// The fields that only events about listeners have.
#[derive(Serialize)]
pub(super) struct ListenerFields<'a> {
    #[serde(rename = "ghostport.ports", skip_serializing_if = "<[u16]>::is_empty")]
    pub(super) ports: &'a [u16],
    #[serde(rename = "ghostport.scope")]
    pub(super) scope: Scope,
    #[serde(rename = "ghostport.changes", skip_serializing_if = "<[Difference]>::is_empty")]
    pub(super) changes: &'a [Difference],
}

impl Listening {
    /// The kind of its event.
    pub const fn name(&self) -> EventName {
        match self.kind {
            ListenerNews::New => EventName::ListenerNew,
            ListenerNews::Changed(_) => EventName::ListenerChanged,
            ListenerNews::Gone => EventName::ListenerGone,
            ListenerNews::Unexpected => EventName::ListenerUnexpected,
        }
    }

    /// The process, if it is known.
    pub fn process(&self) -> Option<&CallerFields> {
        match &self.by {
            Listens::Process(process) => Some(process),
            Listens::Program(_) => None,
        }
    }

    pub(super) fn fields(&self) -> ListenerFields<'_> {
        let changes = match &self.kind {
            ListenerNews::Changed(changes) => changes.as_slice(),
            _ => &[],
        };
        ListenerFields { ports: &self.ports, scope: self.scope, changes }
    }
}

impl From<&Program> for IdentityFields {
    fn from(program: &Program) -> Self {
        let Program { executable, unit, user, .. } = program;
        // A number is no name.
        let user = user.clone().filter(|user| user.parse::<u32>().is_err());
        Self {
            executable_path: executable.clone(),
            systemd_unit: unit.clone(),
            user_name: user,
            ..Self::default()
        }
    }
}
