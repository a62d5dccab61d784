//! A JSON object of objects.

use serde_json::{Map, Value};

/// A JSON object whose values are set by paths, as `process.parent.pid`.
#[derive(Debug, Default)]
pub(super) struct Tree(Map<String, Value>);

impl Tree {
    /// Sets the value at a path, unless the value is absent or something else is on the way.
    pub(super) fn set(&mut self, path: &str, value: Option<impl Into<Value>>) {
        let Some(value) = value else { return };
        let (folders, name) = path.rsplit_once('.').unwrap_or(("", path));
        let mut object = &mut self.0;
        for folder in folders.split('.').filter(|folder| !folder.is_empty()) {
            let next = object.entry(folder).or_insert_with(|| Map::new().into());
            let Value::Object(next) = next else { return };
            object = next;
        }
        object.entry(name).or_insert_with(|| value.into());
    }

    /// The object; `None` if it is empty.
    pub(super) fn into_value(self) -> Option<Value> {
        (!self.0.is_empty()).then_some(Value::Object(self.0))
    }

    pub(super) fn into_json(self) -> String {
        Value::Object(self.0).to_string()
    }
}
