//! The schema of the configuration file.

use serde_json::{Map, Value, json};

use super::values::{self, DIALECT};
use crate::{
    config::{
        EXPECT_KEYS, KEYS, Key, LISTENER_EXPECT_KEYS, NestedKey, PORT_KEYS, SINK_KEYS, SINK_KINDS,
        SinkKey,
    },
    event::EventName,
};

/// The schema of the file, for editors and for programs that write it.
pub fn config() -> Value {
    let mut properties = Map::new();
    for key in KEYS {
        match key.path.split_once('.') {
            None => drop(properties.insert(key.path.to_owned(), of_key(key))),
            Some((section, name)) => {
                let section = properties.entry(section).or_insert_with(empty_section);
                section["properties"][name] = of_key(key);
            }
        }
    }
    json!({
        "$schema": DIALECT,
        "title": "Configuration of ghostport",
        // An empty file, and one with comments alone, is the defaults.
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": false,
        "$defs": {
            "port": port(),
            "ports": ports(),
            "expect": mapping(&EXPECT_KEYS),
        },
    })
}

/// A section whose keys are all commented out is null.
fn empty_section() -> Value {
    json!({"type": ["object", "null"], "properties": {}, "additionalProperties": false})
}

fn of_key(key: &Key) -> Value {
    let mut schema = match key.path {
        "ports" => watched_ports(),
        "sinks" => values::list(&json!({"oneOf": SINK_KINDS.map(sink)})),
        "listeners.watch" => {
            let list = values::list(&reference("ports"));
            json!({"anyOf": [{"enum": ["none", "all"]}, list]})
        }
        "listeners.expect" => values::list(&listener()),
        _ => values::of(key.value).unwrap_or_else(|| json!({})),
    };
    schema["description"] = key.help.into();
    schema
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

fn port() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": u16::MAX})
}

/// A port or several in a row.
fn ports() -> Value {
    let range = json!({"type": "string", "pattern": "^[0-9]{1,5}-[0-9]{1,5}$"});
    json!({"anyOf": [reference("port"), range]})
}

fn watched_ports() -> Value {
    let entry = json!({"anyOf": [reference("ports"), mapping(&PORT_KEYS)]});
    let mut list = values::list(&entry);
    list["minItems"] = 1.into();
    list
}

/// An entry of `listeners.expect`: a port beside the keys of an entry of `expect`.
fn listener() -> Value {
    let keys: Vec<NestedKey> = LISTENER_EXPECT_KEYS.into_iter().chain(EXPECT_KEYS).collect();
    mapping(&keys)
}

/// A sink of one kind, with the keys that it takes.
fn sink(kind: &str) -> Value {
    let takes = |key: &&SinkKey| key.kinds.is_empty() || key.kinds.contains(&kind);
    let keys: Vec<NestedKey> = SINK_KEYS.iter().filter(takes).map(|key| key.key).collect();
    let mut schema = mapping(&keys);
    schema["properties"]["kind"] = json!({"const": kind});
    schema
}

/// A mapping with these keys and no others.
fn mapping(keys: &[NestedKey]) -> Value {
    let properties: Map<String, Value> =
        keys.iter().map(|key| (key.name.to_owned(), of_nested(key))).collect();
    let is_required = |key: &&NestedKey| key.value.ends_with("required");
    let required: Vec<&str> = keys.iter().filter(is_required).map(|key| key.name).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn of_nested(key: &NestedKey) -> Value {
    let names: Vec<&str> = EventName::ALL.into_iter().map(EventName::kind).collect();
    let mut schema = match key.name {
        "port" if key.value.contains('*') => json!({"anyOf": [reference("ports"), {"const": "*"}]}),
        "port" => reference("ports"),
        "expect" => values::list(&reference("expect")),
        "kinds" => values::list(&json!({"enum": names})),
        "labels" => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        _ => values::of(without_default(key.value)).unwrap_or_else(|| json!({})),
    };
    schema["description"] = key.help.into();
    schema
}

/// The words without the default, which follows the last comma or semicolon.
fn without_default(words: &str) -> &str {
    let before = |separator| words.rsplit_once(separator).map(|(before, _)| before);
    before("; ").or_else(|| before(", ")).unwrap_or(words)
}
