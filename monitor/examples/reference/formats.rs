//! formats.md: what becomes of each field, found by encoding the samples with it and without it.

use std::collections::{BTreeMap, BTreeSet};

use ghostport::{
    event::{FIELDS, samples},
    formats::EventFormat,
};
use serde_json::{Map, Value};

use crate::markdown::{code, table};

/// The page.
pub(crate) fn page() -> String {
    let samples: Vec<Map<String, Value>> = samples().collect();
    let rows = FIELDS.iter().map(|field| {
        let places = |format| places(field.name, format, &samples);
        [
            code(field.name),
            places(EventFormat::Ecs),
            places(EventFormat::Ocsf),
            places(EventFormat::Cef),
        ]
    });
    let columns = ["field", "`ecs`", "`ocsf`", "`cef`"];
    format!(
        "# Formats\n\n\
         Source: `monitor/src/formats`. [Sinks](../operate/sinks.md#formats) say how a format is chosen.\n\n\
         | format | what it is |\n| --- | --- |\n\
         | `ghostport` | one JSON object with the [fields of events](events.md) |\n\
         | `ecs` | [Elastic Common Schema](https://www.elastic.co/docs/reference/ecs) 9.3, a JSON object |\n\
         | `ocsf` | [Open Cybersecurity Schema Framework](https://schema.ocsf.io/1.6.0) 1.6, a JSON object \
         of the class Network Activity (4001), Detection Finding (2004) or Application Lifecycle (6002) |\n\
         | `cef` | Common Event Format, version 0, a line of text |\n\n\
         The tests check every kind of event against the published schemas of ECS and OCSF.\n\n\
         ## Where each field goes\n\n\
         Events have a sentence for people as well: `message` of ECS and OCSF, `msg` of CEF. Labels of a \
         sink are `labels` of ECS and `metadata.labels` of OCSF. CEF has what its dictionary of keys has a \
         place for, and lacks the rest.\n\n{}",
        table(columns, rows)
    )
}

/// The places of a field in a format.
fn places(field: &str, format: EventFormat, samples: &[Map<String, Value>]) -> String {
    let (mut exact, mut others) = (BTreeSet::new(), BTreeSet::new());
    for sample in samples {
        let mut without = sample.clone();
        let Some(value) = without.remove(field) else { continue };
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let without = encoded(&without, format);
        let with = encoded(sample, format);
        for (place, value) in with.iter().filter(|(place, of)| without.get(*place) != Some(of)) {
            let has_it = value.trim_matches('"') == text;
            (if has_it { &mut exact } else { &mut others }).insert(code(place));
        }
    }
    // Where the value itself is nowhere, what depends on it.
    let places = if exact.is_empty() { others } else { exact };
    places.into_iter().collect::<Vec<String>>().join(", ")
}

/// The values of an event by their places.
fn encoded(event: &Map<String, Value>, format: EventFormat) -> BTreeMap<String, String> {
    let json = Value::Object(event.clone()).to_string();
    let text = format.encode(&json, None);
    let mut found = BTreeMap::new();
    match serde_json::from_str(&text) {
        Ok(value) => leaves(&value, "", &mut found),
        Err(_) => pairs(&text, &mut found),
    }
    found
}

/// Values of a JSON document. Objects of an event that have names with dots are values of their own.
fn leaves(value: &Value, path: &str, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) if fields.keys().all(|name| !name.contains('.')) => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                leaves(value, &format!("{path}{dot}{name}"), found);
            }
        }
        Value::Object(fields) if path == "unmapped" => {
            for (name, value) in fields {
                found.insert(format!("unmapped.{name}"), value.to_string());
            }
        }
        Value::Array(values) if values.iter().any(Value::is_object) && path != "unmapped" => {
            for value in values {
                leaves(value, &format!("{path}[]"), found);
            }
        }
        value => {
            found.insert(path.to_owned(), value.to_string());
        }
    }
}

/// The fields of the header that differ, and the pairs of a line of CEF.
fn pairs(line: &str, found: &mut BTreeMap<String, String>) {
    let mut header = line.splitn(8, '|').skip(4);
    for name in ["event class", "name", "severity"] {
        found.insert(name.to_owned(), header.next().unwrap_or_default().to_owned());
    }
    let extension = header.next().unwrap_or_default();
    let mut key = "";
    for part in extension.split(' ') {
        let pair = part.split_once('=').filter(|(name, _)| !name.ends_with('\\'));
        match pair {
            Some((name, value)) => {
                key = name;
                found.insert(name.to_owned(), value.to_owned());
            }
            None => found.entry(key.to_owned()).or_default().push_str(part),
        }
    }
}
