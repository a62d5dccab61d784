//! The schema of the document of `check --json`.

use jiff::Timestamp;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

use crate::api::{listener::Listener, port::Port, then::PortThen};

/// Version of the document; a field may be added to it, none renamed or removed.
pub const CHECK_SCHEMA: &str = "ghostport.check/1";

/// The document.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is made")]
struct Document {
    /// What could not be seen, a sentence each.
    not_visible: Option<Vec<String>>,
    /// With `--at`: the time that was asked for.
    at: Option<Timestamp>,
    /// The ports that were looked at, as they are, or with `--at` as they were.
    ports: Option<Vec<NowOrThen>>,
    /// With `--all`: whether the agent is learning the baseline; absent without one that watches listeners.
    learning: Option<bool>,
    /// With `--all`: every listener of the host, by port.
    listeners: Option<Vec<Listener>>,
}

/// A port as it is or as it was.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is made")]
enum NowOrThen {
    /// As it is.
    Now(Box<Port>),
    /// As it was.
    Then(PortThen),
}

/// The schema of the document. Fields may be added to it.
pub fn check() -> Value {
    let settings = SchemaSettings::draft2020_12();
    let mut schema = settings.into_generator().into_root_schema_for::<Document>().to_value();
    schema["title"] = "What ghostport check found".into();
    schema["properties"]["schema"] = json!({"const": CHECK_SCHEMA});
    schema["required"] = json!(["schema"]);
    schema["anyOf"] = json!([{"required": ["ports"]}, {"required": ["listeners"]}]);
    schema
}
