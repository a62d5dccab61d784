//! An event as an entry of the journal. Pure.

use serde_json::Value;

use crate::{
    event::EncodedEvent,
    formats::EventFormat,
    sinks::{sentence::sentence, syslog_severity::syslog_severity},
};

/// The datagram of an event, whose line is in this format. Another format than the project's own is the
/// message.
pub(super) fn entry(encoded: &EncodedEvent, format: EventFormat) -> Vec<u8> {
    let mut entry = Vec::new();
    let priority = syslog_severity(encoded.event.severity());
    let message = match format {
        EventFormat::Ghostport => sentence(&encoded.event),
        _ => encoded.line.json().to_owned(),
    };
    push(&mut entry, "MESSAGE", &message);
    push(&mut entry, "PRIORITY", &priority.to_string());
    push(&mut entry, "SYSLOG_IDENTIFIER", "ghostport");
    if format != EventFormat::Ghostport {
        return entry;
    }
    let fields: Value = serde_json::from_str(encoded.line.json()).unwrap_or_default();
    for (key, value) in fields.as_object().into_iter().flatten() {
        push_value(&mut entry, &field_name(key), value);
    }
    entry
}

/// `network.local.port` becomes `NETWORK_LOCAL_PORT`: names of fields have capitals, digits and
/// underscores.
fn field_name(key: &str) -> String {
    let capital = |char: char| match char.to_ascii_uppercase() {
        char if char.is_ascii_alphanumeric() => char,
        _ => '_',
    };
    key.chars().map(capital).collect()
}

/// A list becomes a field with several values.
fn push_value(entry: &mut Vec<u8>, name: &str, value: &Value) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| push_value(entry, name, value)),
        Value::String(text) => push(entry, name, text),
        other => push(entry, name, &other.to_string()),
    }
}

fn push(entry: &mut Vec<u8>, name: &str, text: &str) {
    entry.extend_from_slice(name.as_bytes());
    if text.contains('\n') {
        // The length comes first: 64 bits, little-endian.
        entry.push(b'\n');
        entry.extend_from_slice(&(text.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(text.as_bytes());
    entry.push(b'\n');
}
