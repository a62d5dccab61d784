//! The schema of an event.

use serde_json::{Map, Value, json};

use super::values::{self, DIALECT};
use crate::event::{EventName, FIELDS, Field, SCHEMA};

/// Fields that every event has.
const ALWAYS: [&str; 5] = ["schema", "time", "event.name", "host.name", "ghostport.severity"];

/// The schema of one line of a sink, of the history and of the stream.
pub fn event() -> Value {
    let properties: Map<String, Value> =
        FIELDS.iter().map(|field| (field.name.to_owned(), of_field(field))).collect();
    let kinds: Vec<Value> = EventName::ALL.into_iter().map(of_kind).collect();
    json!({
        "$schema": DIALECT,
        "title": "An event of ghostport",
        "type": "object",
        "properties": properties,
        "required": ALWAYS,
        "allOf": kinds,
    })
}

fn of_field(field: &Field) -> Value {
    if field.name == "schema" {
        return json!({"const": SCHEMA});
    }
    let names: Vec<String> = EventName::ALL.into_iter().map(EventName::full_name).collect();
    let mut schema = match field.name {
        "event.name" => json!({"enum": names}),
        // A value that is not described in words that are known may be anything.
        _ => values::of(field.value).unwrap_or_else(|| json!({})),
    };
    schema["description"] = field.help.into();
    schema
}

/// An event of this kind has no other fields than those of the kind, and labels of its sink.
fn of_kind(kind: EventName) -> Value {
    let fields = FIELDS.iter().filter(|field| field.kinds.contains(&kind)).map(|field| field.name);
    let names: Vec<&str> = fields.chain(["ghostport.labels"]).collect();
    json!({
        "if": {"properties": {"event.name": {"const": kind.full_name()}}},
        "then": {"propertyNames": {"enum": names}},
    })
}
