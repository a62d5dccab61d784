//! Events in the formats that other systems read. Pure.
//!
//! A format is made from the JSON object of an event, so that events of the store and events of now are
//! the same. docs/reference/formats.md lists what becomes of each field.

mod cef;
mod ecs;
mod fields;
mod ocsf;
mod techniques;
#[cfg(test)]
mod tests;
mod tree;

use std::borrow::Cow;

use serde_json::{Map, Value};

use self::fields::Fields;

/// A format of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventFormat {
    /// The project's own: one JSON object with the names of OpenTelemetry.
    #[default]
    Ghostport,
    /// Elastic Common Schema, as a JSON object.
    Ecs,
    /// Open Cybersecurity Schema Framework, as a JSON object.
    Ocsf,
    /// Common Event Format, as a line of text.
    Cef,
}

impl EventFormat {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Ghostport, Self::Ecs, Self::Ocsf, Self::Cef];

    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ghostport => "ghostport",
            Self::Ecs => "ecs",
            Self::Ocsf => "ocsf",
            Self::Cef => "cef",
        }
    }

    /// Whether an event is a JSON object.
    pub const fn is_json(self) -> bool {
        !matches!(self, Self::Cef)
    }

    /// The event in this format, without a line feed. `json` is its JSON object, `message` a sentence
    /// about it for people.
    pub fn encode<'a>(self, json: &'a str, message: Option<&str>) -> Cow<'a, str> {
        let encode = match self {
            Self::Ghostport => return json.into(),
            Self::Ecs => ecs::encode,
            Self::Ocsf => ocsf::encode,
            Self::Cef => cef::encode,
        };
        // The agent has encoded it itself.
        let fields: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
        encode(&Fields::new(&fields), message).into()
    }
}
