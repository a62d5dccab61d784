//! An event of every kind, with every field: what a template of a sink is tried with.

use serde_json::{Map, Value};

/// The same lines hold the format of events in the tests.
const SAMPLES: &str = include_str!("golden.jsonl");

/// The samples, of which some lack fields.
pub fn samples() -> impl Iterator<Item = Map<String, Value>> {
    SAMPLES.lines().filter_map(|line| serde_json::from_str(line).ok())
}
