use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::config::{Config, KEYS, Overrides};

fn errors(schema: &Value, document: &Value) -> Vec<String> {
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(schema)
        .expect("a schema of draft 2020-12");
    validator.iter_errors(document).map(|error| error.to_string()).collect()
}

#[test]
fn every_kind_of_event_is_valid() {
    let schema = event();
    let lines = include_str!("../event/golden.jsonl").lines();
    let events = lines.map(|line| serde_json::from_str::<Value>(line).expect("an event"));
    let wrong = events.flat_map(|event| errors(&schema, &event));
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn an_event_with_a_foreign_field_or_value_is_not_valid() {
    let schema = event();
    let dormant = json!({"schema": "ghostport.event/1", "time": "2026-11-20T03:00:00.000000001Z",
        "event.name": "ghostport.dormant", "host.name": "h", "ghostport.severity": "info",
        "network.local.port": 2948});
    assert_eq!(errors(&schema, &dormant), Vec::<String>::new());
    for (field, value) in [
        ("process.pid", json!(7)),
        ("foreign", json!(7)),
        ("network.local.port", json!("2948")),
        ("ghostport.severity", json!("grave")),
        ("time", json!("yesterday")),
        ("event.name", json!("ghostport.birth")),
    ] {
        let mut event = dormant.clone();
        event[field] = value;
        assert_ne!(errors(&schema, &event), Vec::<String>::new(), "{field}");
    }
}

#[test]
fn every_field_and_key_has_a_type() {
    let event = event();
    for (name, schema) in event["properties"].as_object().expect("fields") {
        let keys = schema.as_object().expect("a schema").keys();
        assert!(keys.clone().any(|key| key != "description"), "{name}");
    }
    let config = config();
    for key in KEYS {
        let path = key.path.replace('.', "/properties/");
        let schema = config.pointer(&format!("/properties/{path}")).expect("a key");
        let keys = schema.as_object().expect("a schema").keys();
        assert!(keys.clone().any(|key| key != "description"), "{}", key.path);
    }
    for list in config["properties"]["sinks"]["items"]["oneOf"].as_array().expect("kinds") {
        for (name, schema) in list["properties"].as_object().expect("keys") {
            let keys = schema.as_object().expect("a schema").keys();
            assert!(keys.clone().any(|key| key != "description"), "{name}");
        }
    }
}

/// The same judgement on a configuration by the schema and by the program.
fn judges_alike(yaml: &str, is_valid: bool) {
    let document = serde_saphyr::from_str::<Value>(yaml).expect("YAML");
    let found = errors(&config(), &document);
    assert_eq!(found.is_empty(), is_valid, "{yaml}: {found:?}");
    let read = Config::parse(Path::new("x.yaml"), yaml.into(), &Overrides::default());
    assert_eq!(read.is_ok(), is_valid, "{yaml}: {read:?}");
}

#[test]
fn configurations_are_judged_as_by_the_program() {
    for yaml in [
        "ports: [2923, 9200-9203, {port: 2948, dormant_after: 7d, expect: [{exe: /usr/sbin/x, user: 7}]}]",
        "store: {path: /var/lib/x.db, retain: 90d, max_size: 256MiB}",
        "sinks: [{kind: journal}, {kind: file, path: /x, min_severity: warning, labels: {a: b}}]",
        "sinks: [{kind: webhook, url: \"http://127.0.0.1/\", kinds: [bind], linger: 1s}]",
        "listeners: {watch: all, learn: 14d, expect: [{port: 22, exe: /usr/sbin/sshd}]}",
        "web: {config_file: null, details: never}",
        "process: {command_line: full}",
        "interfaces:\nbind: {mechanism: kprobe}",
    ] {
        judges_alike(yaml, true);
    }
    for yaml in [
        "ports: []",
        "ports: [0]",
        "ports: [65536]",
        "ports: [{dormant_after: 7d}]",
        "ports: [{port: 1, expect: [{path: /x}]}]",
        "port: [1]",
        "store: {retain: 7 days}",
        "store: {max_size: 1GB}",
        "store: {path: x.db}",
        "sinks: [{kind: file}]",
        "sinks: [{kind: journal, path: /x}]",
        "sinks: [{kind: pigeon}]",
        "web: {details: everybody}",
        "payload: {capture: perhaps}",
        "listeners: {watch: some}",
    ] {
        judges_alike(yaml, false);
    }
}
