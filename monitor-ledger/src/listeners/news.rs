//! What is news about listeners.

use monitor_common::flow::Protocol;
use serde::Serialize;

use super::identity::{Program, ProgramKey, Scope, differ};

/// A listener that the baseline does not have, or one that it has and that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// The entry that it is about.
    pub entry: u32,
    /// What is new.
    pub novelty: Novelty,
    /// Transport protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// From where it can be reached.
    pub scope: Scope,
    /// What listens, or listened.
    pub program: Program,
}

/// What is new about a listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Novelty {
    /// The baseline has none on its port.
    New,
    /// The baseline has another one on its port.
    Changed(Vec<Difference>),
    /// It no longer listens.
    Gone,
}

impl Novelty {
    /// Its place among the kinds of news.
    pub(super) const fn index(&self) -> usize {
        match self {
            Self::New => 0,
            Self::Changed(_) => 1,
            Self::Gone => 2,
        }
    }
}

/// What differs from the listener that was there before.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Difference {
    /// Which fact.
    pub field: Field,
    /// What it was; `None` if there was none or it was unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// A fact about a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Field {
    /// Path of the executable.
    Executable,
    /// systemd unit.
    Unit,
    /// Effective user.
    User,
    /// Container.
    Container,
    /// From where it can be reached.
    Scope,
}

impl Field {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Executable => "executable",
            Self::Unit => "unit",
            Self::User => "user",
            Self::Container => "container",
            Self::Scope => "scope",
        }
    }
}

/// A listener on a port, to be compared with another one there.
#[derive(Clone, Copy)]
pub(super) struct Compared<'a> {
    pub(super) scope: Scope,
    pub(super) program: &'a Program,
    pub(super) key: &'a ProgramKey,
}

impl Compared<'_> {
    /// Which facts differ in `new`, of those that are known of both.
    fn different(self, new: Self) -> impl Iterator<Item = Field> {
        let (old_key, new_key) = (self.key, new.key);
        // An unknown executable or user is no other one. No unit and no container are facts.
        [
            (Field::Executable, differ(&old_key.executable, &new_key.executable)),
            (Field::Unit, old_key.unit != new_key.unit),
            (Field::User, differ(&old_key.user, &new_key.user)),
            (Field::Container, old_key.container != new_key.container),
            (Field::Scope, self.scope != new.scope),
        ]
        .into_iter()
        .filter_map(|(field, is_other)| is_other.then_some(field))
    }

    /// How many facts differ in `new`.
    pub(super) fn distance(self, new: Self) -> usize {
        self.different(new).count()
    }

    /// What differs in `new`.
    pub(super) fn differences(self, new: Self) -> Vec<Difference> {
        let difference = |field| Difference { field, from: self.fact(field), to: new.fact(field) };
        self.different(new).map(difference).collect()
    }

    fn fact(&self, field: Field) -> Option<String> {
        match field {
            Field::Executable => self.program.executable.clone(),
            Field::Unit => self.program.unit.clone(),
            Field::User => self.program.user.clone(),
            Field::Container => self.program.container.clone(),
            Field::Scope => Some(self.scope.name().to_owned()),
        }
    }
}
