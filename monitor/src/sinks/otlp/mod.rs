//! Events as OTLP logs over HTTP, in protobuf because not every receiver accepts JSON.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

mod message;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::http::{StatusCode, Uri};
use jiff::Timestamp;
use prost::Message as _;
use serde_json::Value;

use self::message::{
    AnyValue, ExportLogsServiceRequest, ExportLogsServiceResponse, InstrumentationScope, KeyValue,
    LogRecord, Resource, ResourceLogs, ScopeLogs,
};
use super::{http::Post, remote::Format, sentence::sentence};
use crate::{
    config::HttpUrl,
    event::{EncodedEvent, SCHEMA, Severity},
    formats::EventFormat,
};

/// Fields of an event that are not attributes of a record, because the record or its resource has
/// them.
const PLACED: [&str; 4] = ["schema", "time", "event.name", "host.name"];

/// `SEVERITY_NUMBER_INFO`, `SEVERITY_NUMBER_WARN` and, for what syslog calls critical,
/// `SEVERITY_NUMBER_ERROR2`: <https://opentelemetry.io/docs/specs/otel/logs/data-model-appendix/>.
const INFO: i32 = 9;
const WARN: i32 = 13;
const CRITICAL: i32 = 18;

/// A receiver of logs.
#[derive(Debug)]
pub(super) struct Otlp {
    uri: Uri,
    format: EventFormat,
}

impl Otlp {
    pub(super) fn new(endpoint: &HttpUrl, format: EventFormat) -> Self {
        Self { uri: endpoint.join("/v1/logs"), format }
    }
}

impl Format for Otlp {
    fn post(&self, events: &[Arc<EncodedEvent>]) -> Result<Post, String> {
        let body = request(events, Timestamp::now(), self.format).encode_to_vec();
        let content_type = "application/x-protobuf";
        Ok(Post { uri: self.uri.clone(), content_type, body: body.into() })
    }

    /// The four that the specification names. Any other error is final.
    fn is_passing(&self, status: StatusCode) -> bool {
        matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        )
    }

    fn left_out(&self, body: &[u8]) -> usize {
        let answer = ExportLogsServiceResponse::decode(body).unwrap_or_default();
        let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_log_records);
        usize::try_from(rejected).unwrap_or(0)
    }
}

fn request(
    events: &[Arc<EncodedEvent>],
    now: Timestamp,
    format: EventFormat,
) -> ExportLogsServiceRequest {
    let version = env!("CARGO_PKG_VERSION");
    let mut attributes = vec![text("service.name", "ghostport"), text("service.version", version)];
    // All events are of this host.
    attributes.extend(events.first().map(|encoded| text("host.name", &encoded.event.host_name)));
    let scope = InstrumentationScope {
        name: "ghostport".into(),
        version: version.into(),
        attributes: vec![text("schema", SCHEMA)],
    };
    let log_records = events.iter().map(|encoded| record(encoded, now, format)).collect();
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource { attributes }),
            scope_logs: vec![ScopeLogs { scope: Some(scope), log_records }],
        }],
    }
}

/// A record of an event, whose line is in this format. Another format than the project's own is the
/// body, as an object if it is JSON.
fn record(encoded: &EncodedEvent, now: Timestamp, format: EventFormat) -> LogRecord {
    let text = || Value::String(encoded.line.json().to_owned());
    let fields: Value = serde_json::from_str(encoded.line.json()).unwrap_or_else(|_| text());
    let (body, attributes) = match (format, fields) {
        (EventFormat::Ghostport, Value::Object(fields)) => {
            let rest = fields.into_iter().filter(|(key, _)| !PLACED.contains(&key.as_str()));
            (Value::String(sentence(&encoded.event)), message::key_values(rest))
        }
        (_, body) => (body, Vec::new()),
    };
    let (severity_number, severity_text) = match encoded.event.severity() {
        Severity::Info => (INFO, "INFO"),
        Severity::Warning => (WARN, "WARN"),
        Severity::Critical => (CRITICAL, "CRITICAL"),
    };
    LogRecord {
        time_unix_nano: nanoseconds(encoded.event.time),
        observed_time_unix_nano: nanoseconds(now),
        severity_number,
        severity_text: severity_text.into(),
        body: Some(AnyValue::from(body)),
        attributes,
        event_name: encoded.event.name().full_name(),
    }
}

/// Nanoseconds since 1970; 0, which means unknown, for earlier times.
fn nanoseconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or(0)
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.into(), value: Some(Value::String(value.into()).into()) }
}
