//! Schemas of values that the tables of fields and keys describe in words.

use serde_json::{Value, json};

/// The dialect of every schema.
pub(super) const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Units of durations and sizes, the largest first. Validators in Go have no look-ahead: that a duration
/// is not empty is said beside the pattern.
const DURATION: &str = "^([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$";
const SIZE: &str = "^[0-9]+(B|KiB|MiB|GiB)$";

/// The schema of a value that `words` describe; `None` for words that are not known here.
pub(super) fn of(words: &str) -> Option<Value> {
    let schema = match words {
        "string" | "URL" | "address" | "unit name or glob" | "id or glob" => {
            json!({"type": "string"})
        }
        "template" => json!({"type": "string"}),
        "name or glob" => json!({"type": "string", "minLength": 1}),
        "64 hexadecimal digits" => json!({"type": "string", "pattern": "^[0-9A-Fa-f]{64}$"}),
        "absolute path" | "absolute path or glob" => json!({"type": "string", "pattern": "^/"}),
        "absolute path or `null`" => json!({"type": ["string", "null"], "pattern": "^/"}),
        "name or number" | "string or number" => json!({"type": ["string", "integer"]}),
        "number" | "number, bytes" => json!({"type": "integer", "minimum": 0}),
        "number, seconds" => json!({"type": "number", "minimum": 0}),
        "boolean" => json!({"type": "boolean"}),
        "object" | "mapping" => json!({"type": "object"}),
        "date" => json!({"type": "string", "format": "date"}),
        "RFC 3339, ns, UTC" => json!({"type": "string", "format": "date-time"}),
        "duration" | "duration up to `1m`" => {
            json!({"type": "string", "minLength": 1, "pattern": DURATION})
        }
        "size" => json!({"type": "string", "pattern": SIZE}),
        "list of addresses" | "list of globs, names and `kind:NAME`" | "list of strings" => {
            list(&json!({"type": "string"}))
        }
        "list of numbers" => list(&json!({"type": "integer", "minimum": 0})),
        "list of objects" => list(&json!({"type": "object"})),
        _ => return numbers(words).or_else(|| choice(words)),
    };
    Some(schema)
}

pub(super) fn list(items: &Value) -> Value {
    json!({"type": "array", "items": items})
}

/// `number from 1 to 999`.
fn numbers(words: &str) -> Option<Value> {
    let (first, last) = words.strip_prefix("number from ")?.split_once(" to ")?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    Some(json!({"type": "integer", "minimum": first, "maximum": last}))
}

/// `` `a`, `b` or `c` ``, among which may be a description of other values: ``size, `none` or `auto` ``.
fn choice(words: &str) -> Option<Value> {
    let mut names = Vec::new();
    let mut others = Vec::new();
    for word in words.replace(" or ", ", ").split(", ") {
        match word.strip_prefix('`').and_then(|word| word.strip_suffix('`')) {
            Some("true") => names.push(json!(true)),
            Some("false") => names.push(json!(false)),
            Some(name) => names.push(json!(name)),
            // Words that are no choice.
            None if word == words => return None,
            None => others.push(of(word)?),
        }
    }
    let names = (!names.is_empty()).then(|| json!({"enum": names}))?;
    if others.is_empty() {
        return Some(names);
    }
    others.insert(0, names);
    Some(json!({"anyOf": others}))
}
