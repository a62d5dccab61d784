//! Every kind of event in every format: as it was, and as the published schemas have it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{EventFormat, ecs, ocsf};
use crate::event::samples;

/// Names, types and lists of the fields of ECS 9.3: `generated/csv/fields.csv` of its repository, with
/// the columns `Field`, `Type` and `Normalization`.
const ECS: &str = include_str!("schemas/ecs-9.3.0.txt");

/// Three classes of OCSF 1.6.0 as a JSON Schema: branch v1.6.0 of its repository, with what they inherit,
/// the profiles `host`, `container` and `security_control`, and the objects that are used here.
const OCSF: &str = include_str!("schemas/ocsf-1.6.0.json");

/// Values of `event.kind`, `event.category` and `event.type`, and which types a category may have.
const ECS_TYPES: [(&str, &[&str]); 5] = [
    ("network", &["access", "allowed", "connection", "denied", "end", "info", "protocol", "start"]),
    ("process", &["access", "change", "end", "info", "start"]),
    ("configuration", &["access", "change", "creation", "deletion", "info"]),
    ("host", &["access", "change", "end", "info", "start"]),
    ("intrusion_detection", &["allowed", "denied", "info"]),
];

const SENTENCE: &str = "bearerbox bound a=b \\ c\nsecond line";

/// Every event of the golden file, and one that carries labels and what could break a line.
fn events() -> Vec<String> {
    let hostile = r#"{"schema":"ghostport.event/1","time":"2026-11-30T00:00:00.000000001Z","event.name":"ghostport.bind","host.name":"a|b","ghostport.severity":"critical","network.transport":"tcp","network.local.port":1,"process.pid":7,"process.executable.name":"=|\\\n","ghostport.attack_techniques":["T1205.002","T1571"],"ghostport.labels":{"dc":"fra"}}"#;
    samples().map(|sample| Value::Object(sample).to_string()).chain([hostile.to_owned()]).collect()
}

fn encoded(format: EventFormat) -> Vec<String> {
    events().iter().map(|json| format.encode(json, Some(SENTENCE)).into_owned()).collect()
}

fn objects(format: EventFormat) -> Vec<Map<String, Value>> {
    let parse = |json: &String| serde_json::from_str(json).expect("an object");
    encoded(format).iter().map(parse).collect()
}

#[test]
fn every_kind_is_encoded_as_before() {
    for format in [EventFormat::Ecs, EventFormat::Ocsf, EventFormat::Cef] {
        insta::assert_snapshot!(format.name(), encoded(format).join("\n"));
    }
}

#[test]
fn the_own_format_is_the_object_itself() {
    for json in events() {
        assert_eq!(EventFormat::Ghostport.encode(&json, None), json);
    }
}

#[test]
fn json_formats_lose_no_field() {
    for format in [EventFormat::Ecs, EventFormat::Ocsf] {
        for json in events() {
            let event: Map<String, Value> = serde_json::from_str(&json).expect("an object");
            let whole = format.encode(&json, None);
            // Every event has a version and a severity.
            let may_lack =
                |name: &&String| !["schema", "ghostport.severity"].contains(&name.as_str());
            for name in event.keys().filter(may_lack) {
                let mut rest = event.clone();
                rest.remove(name);
                let rest = Value::Object(rest).to_string();
                assert_ne!(
                    whole,
                    format.encode(&rest, None),
                    "{}: {name} of {json}",
                    format.name()
                );
            }
        }
    }
}

/// Paths of values, with the values.
fn leaves(object: &Map<String, Value>, path: &str, found: &mut Vec<(String, Value)>) {
    for (name, value) in object {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match value {
            Value::Object(object) => leaves(object, &path, found),
            value => found.push((path, value.clone())),
        }
    }
}

#[test]
fn ecs_has_each_field_with_its_type() {
    let types: BTreeMap<&str, (&str, bool)> = ECS
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, (words.next()?, words.next().is_some())))
        })
        .collect();
    for event in objects(EventFormat::Ecs) {
        let mut found = Vec::new();
        leaves(&event, "", &mut found);
        for (path, value) in found {
            if path.starts_with("ghostport.") || path.starts_with("labels.") {
                continue;
            }
            let (kind, is_list) = types.get(&*path).unwrap_or_else(|| panic!("ECS has no {path}"));
            let values = match &value {
                Value::Array(values) => values.clone(),
                value => vec![value.clone()],
            };
            assert_eq!(value.is_array(), *is_list, "{path}: {value}");
            for value in values {
                let fits = match *kind {
                    "long" => value.is_u64(),
                    "ip" => value.as_str().is_some_and(|ip| ip.parse::<std::net::IpAddr>().is_ok()),
                    "date" => {
                        value.as_str().is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok())
                    }
                    "boolean" => value.is_boolean(),
                    _ => value.is_string(),
                };
                assert!(fits, "{path} is of type {kind}: {value}");
            }
        }
        assert_eq!(event["ecs"]["version"], ecs::VERSION);
        let of = &event["event"];
        assert!(["alert", "event"].map(Value::from).contains(&of["kind"]), "{of}");
        let list = |name: &str| of[name].as_array().expect("a list").clone();
        for kind in list("type") {
            let allows = |category: &Value| {
                ECS_TYPES.iter().any(|(name, types)| {
                    category == name && types.iter().any(|allowed| kind == *allowed)
                })
            };
            assert!(list("category").iter().any(allows), "{of}");
        }
    }
}

#[test]
fn ocsf_is_valid_by_its_schema() {
    let schema: Value = serde_json::from_str(OCSF).expect("JSON");
    let validator = jsonschema::options().should_validate_formats(true).build(&schema);
    let validator = validator.expect("a schema");
    for event in objects(EventFormat::Ocsf) {
        assert_eq!(event["metadata"]["version"], ocsf::VERSION);
        let class = match event["class_uid"].as_u64() {
            Some(4001) => "network_activity",
            Some(2004) => "detection_finding",
            _ => "application_lifecycle",
        };
        let event = Value::Object(event);
        // Errors of one class say more than that none of three fits.
        if !validator.is_valid(&event) {
            let mut own = schema.clone();
            own.as_object_mut().expect("an object").remove("oneOf");
            own["$ref"] = format!("#/$defs/{class}").into();
            let own = jsonschema::validator_for(&own).expect("a schema");
            let errors: Vec<String> = own
                .iter_errors(&event)
                .map(|error| format!("{} at {}", error, error.instance_path()))
                .collect();
            panic!("{errors:#?}\n{event:#}");
        }
    }
}

#[test]
fn cef_is_a_line_with_seven_fields_and_pairs() {
    for line in encoded(EventFormat::Cef) {
        assert!(!line.contains(['\n', '\r']), "{line}");
        let mut fields = Vec::new();
        let (mut field, mut chars) = (String::new(), line.chars());
        while fields.len() < 7
            && let Some(char) = chars.next()
        {
            match char {
                '\\' => field.extend(chars.next()),
                '|' => fields.push(std::mem::take(&mut field)),
                char => field.push(char),
            }
        }
        assert_eq!(fields[..3], ["CEF:0", "ghostport", "ghostport"], "{line}");
        assert!(fields[6].parse::<u8>().is_ok_and(|severity| severity <= 10), "{line}");
        let extension: String = chars.collect();
        assert!(extension.starts_with("rt="), "{line}");
        assert!(extension.ends_with(r"msg=bearerbox bound a\=b \\ c\nsecond line"), "{line}");
    }
}
