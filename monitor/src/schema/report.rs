//! The schema of the document of `report --format json`.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::api::report::{REPORT_SCHEMA, Report};

/// The schema of the document. Fields may be added to it.
pub fn report() -> Value {
    let settings = SchemaSettings::draft2020_12();
    let mut schema = settings.into_generator().into_root_schema_for::<Report>().to_value();
    schema["title"] = "What may be said of ports for their retirement".into();
    schema["properties"]["schema"] = json!({"const": REPORT_SCHEMA});
    schema
}
