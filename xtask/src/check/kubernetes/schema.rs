//! As much of JSON Schema as the schemas of Kubernetes' API need. Pure.

use serde_json::{Map, Value};

/// The definitions of one version of the API. They allow no unknown field.
pub(super) struct Api {
    definitions: Map<String, Value>,
}

impl Api {
    /// Takes the document in which `$defs` has every type.
    pub(super) fn new(mut document: Value) -> Self {
        let definitions = match document["$defs"].take() {
            Value::Object(definitions) => definitions,
            _ => Map::new(),
        };
        Self { definitions }
    }

    /// What is wrong with an object, a line each; `None` if the API does not have its kind.
    pub(super) fn problems(&self, object: &Value) -> Option<Vec<String>> {
        let version = object["apiVersion"].as_str()?;
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let is_of_kind = |schema: &&Value| {
            let kinds = schema["x-kubernetes-group-version-kind"].as_array();
            kinds.into_iter().flatten().any(|kind| {
                kind["group"] == group
                    && kind["version"] == version
                    && kind["kind"] == object["kind"]
            })
        };
        let schema = self.definitions.values().find(is_of_kind)?;
        let mut problems = Vec::new();
        self.look(schema, object, "", &mut problems);
        Some(problems)
    }

    fn look(&self, schema: &Value, value: &Value, at: &str, problems: &mut Vec<String>) {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.strip_prefix("#/$defs/").unwrap_or(reference);
            match self.definitions.get(name) {
                Some(schema) => self.look(schema, value, at, problems),
                None => problems.push(format!("{at}: there is no definition {name}")),
            }
            return;
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            let fits = |choice: &Value| {
                let mut found = Vec::new();
                self.look(choice, value, at, &mut found);
                found.is_empty()
            };
            if !choices.iter().any(fits) {
                problems.push(format!("{at}: {value} is of none of the types"));
            }
            return;
        }
        if !is_of_type(&schema["type"], value) {
            problems.push(format!("{at}: {value} is not of type {}", schema["type"]));
            return;
        }
        if schema["enum"].as_array().is_some_and(|values| !values.contains(value)) {
            problems.push(format!("{at}: {value} is none of {}", schema["enum"]));
        }
        match value {
            Value::Object(fields) => self.look_at_fields(schema, fields, at, problems),
            Value::Array(items) => {
                for (number, item) in items.iter().enumerate() {
                    self.look(&schema["items"], item, &format!("{at}[{number}]"), problems);
                }
            }
            _ => {}
        }
    }

    fn look_at_fields(
        &self,
        schema: &Value,
        fields: &Map<String, Value>,
        at: &str,
        problems: &mut Vec<String>,
    ) {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                problems.push(format!("{at}: {name} is missing"));
            }
        }
        for (name, value) in fields {
            let path = format!("{at}.{name}");
            match (schema["properties"].get(name), &schema["additionalProperties"]) {
                (Some(schema), _) => self.look(schema, value, &path, problems),
                (None, Value::Bool(false)) => problems.push(format!("{path} is no field")),
                (None, others) => self.look(others, value, &path, problems),
            }
        }
    }
}

/// A schema without a type takes every value.
fn is_of_type(types: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        _ => false,
    };
    match types {
        Value::Null => true,
        Value::Array(names) => names.iter().any(is),
        name => is(name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn api() -> Api {
        Api::new(json!({"$defs": {
            "Pod": {
                "type": "object",
                "properties": {
                    "apiVersion": {"type": "string"}, "kind": {"enum": ["Pod"]},
                    "spec": {"$ref": "#/$defs/Spec"},
                },
                "required": ["spec"],
                "additionalProperties": false,
                "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Pod"}],
            },
            "Spec": {
                "type": ["object", "null"],
                "properties": {
                    "port": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "args": {"type": "array", "items": {"type": "string"}},
                },
                "additionalProperties": false,
            },
        }}))
    }

    #[test]
    fn names_every_fault_with_its_path() {
        for (spec, expected) in [
            (json!({"port": 1, "labels": {"a": "b"}, "args": ["x"]}), ""),
            (json!(null), ""),
            (json!({"prot": 1}), ".spec.prot is no field"),
            (json!({"port": true}), ".spec.port: true is of none of the types"),
            (json!({"labels": {"a": 1}}), ".spec.labels.a: 1 is not of type \"string\""),
            (json!({"args": ["x", 2]}), ".spec.args[1]: 2 is not of type \"string\""),
        ] {
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": spec});
            assert_eq!(api().problems(&pod).expect("a kind").join("\n"), expected);
        }
        let without = json!({"apiVersion": "v1", "kind": "Pod"});
        assert_eq!(api().problems(&without), Some(vec![": spec is missing".to_owned()]));
        assert_eq!(api().problems(&json!({"apiVersion": "a/v1", "kind": "Pod"})), None);
    }
}
