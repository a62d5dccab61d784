//! The chart for Kubernetes, and the part of its schema that follows from the agent's configuration.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};

use crate::{
    builds::Builds,
    vm,
    workspace::{cargo, root, shown},
};

/// Keys of the configuration that are values of their own, and `web`, which the chart writes.
const OWN_VALUES: [&str; 5] = ["ports", "interfaces", "listeners", "sinks", "web"];

/// The folder of the chart.
pub(crate) fn folder() -> PathBuf {
    root().join("packaging/kubernetes/chart")
}

/// The schema of the values.
pub(crate) fn schema_path() -> PathBuf {
    folder().join("values.schema.json")
}

/// The schema of the values as it should be: what the file says by itself, and what the agent says of
/// its configuration.
pub(crate) fn schema(builds: Builds) -> Result<String> {
    let text = fs::read_to_string(schema_path()).context("cannot read the schema of the values")?;
    let mut schema: Value = serde_json::from_str(&text).context("values.schema.json is no JSON")?;
    let mut command = ghostport(builds)?;
    let output = command.args(["schema", "config"]).output();
    let output = output.with_context(|| format!("cannot start {}", shown(&command)))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    schema["$defs"] = definitions(serde_json::from_slice(&output.stdout)?)?.into();
    Ok(format!("{schema:#}\n"))
}

/// The program, with the command that is its next argument.
pub(crate) fn ghostport(builds: Builds) -> Result<Command> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "monitor", "--bin", "ghostport"]);
    if builds == Builds::LikeTests {
        vm::build_for_guests(&mut command)?;
    }
    command.arg("--");
    Ok(command)
}

/// Definitions that the values refer to, made of the configuration's schema.
fn definitions(mut config: Value) -> Result<Map<String, Value>> {
    let mut definitions = match config["$defs"].take() {
        Value::Object(definitions) => definitions,
        _ => Map::new(),
    };
    let properties = config["properties"].as_object_mut().context("no keys are known")?;
    let mut own = OWN_VALUES.map(|name| (name, properties.remove(name).unwrap_or_default()));
    for (name, schema) in &mut own {
        match *name {
            "web" => {
                definitions.insert("key-details".into(), schema["properties"]["details"].take());
                continue;
            }
            "sinks" => add_secrets(schema),
            _ => {}
        }
        definitions.insert(format!("key-{name}"), schema.take());
    }
    let rest = json!({"type": "object", "properties": properties, "additionalProperties": false});
    definitions.insert("other-keys".into(), rest);
    Ok(definitions)
}

/// Sinks that read headers from a file may get them from a Secret.
fn add_secrets(sinks: &mut Value) {
    let name = json!({"type": "string", "minLength": 1});
    let secret = json!({
        "description": "The Secret, and the key in it, that has the headers of every request.",
        "type": "object",
        "properties": {"name": name, "key": name},
        "required": ["name", "key"],
        "additionalProperties": false,
    });
    let kinds = sinks["items"]["oneOf"].as_array_mut();
    for kind in kinds.into_iter().flatten() {
        if kind["properties"].get("headers_file").is_some() {
            kind["properties"]["headersSecret"] = secret.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_a_value_or_below_config() {
        let sink = json!({"properties": {"kind": {"const": "webhook"}, "headers_file": {}}});
        let local = json!({"properties": {"kind": {"const": "stdout"}}});
        let config = json!({
            "properties": {
                "ports": {"type": "array"}, "bind": {}, "sinks": {"items": {"oneOf": [sink, local]}},
                "web": {"properties": {"listen": {}, "details": {"enum": ["never"]}}},
            },
            "$defs": {"port": {}},
        });
        let found = definitions(config).expect("definitions");
        assert_eq!(found["key-ports"], json!({"type": "array"}));
        assert_eq!(found["key-details"], json!({"enum": ["never"]}));
        assert_eq!(found["other-keys"]["properties"], json!({"bind": {}}));
        let kinds = &found["key-sinks"]["items"]["oneOf"];
        assert!(kinds[0]["properties"]["headersSecret"].is_object());
        assert!(kinds[1]["properties"].get("headersSecret").is_none());
        assert!(found.contains_key("port") && !found.contains_key("key-web"));
    }
}
