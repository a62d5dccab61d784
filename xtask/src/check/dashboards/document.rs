//! Reading files, and values in JSON and YAML documents.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::workspace::root;

pub(super) fn read(path: &str) -> Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"))
}

/// Elements of an array, or values of a mapping, at a place; none where there is nothing.
pub(super) fn items<'a>(value: &'a Value, at: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let found = value.pointer(at);
    let array = found.and_then(Value::as_array).into_iter().flatten();
    array.chain(found.and_then(Value::as_object).into_iter().flat_map(|object| object.values()))
}

/// Text at a place; empty where there is none.
pub(super) fn text_of<'a>(value: &'a Value, at: &str) -> &'a str {
    value.pointer(at).and_then(Value::as_str).unwrap_or_default()
}

/// Names that follow a mark, as `port` in `{{port}}` or `$labels.port`.
pub(super) fn words_after(text: &str, mark: &str) -> Vec<String> {
    let words = text.split(mark).skip(1).map(|rest| {
        let rest = rest.trim_start();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        rest[..end.unwrap_or(rest.len())].to_owned()
    });
    words.collect()
}
