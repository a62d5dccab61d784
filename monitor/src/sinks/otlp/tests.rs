use opentelemetry_proto::tonic::{
    collector::logs::v1 as collector,
    common::v1::{KeyValue as Theirs, any_value::Value as TheirValue},
    logs::v1::SeverityNumber,
};

use super::*;
use crate::{
    event::{Event, EventContext, EventName},
    sinks::testing,
};

fn find<'a>(attributes: &'a [Theirs], key: &str) -> &'a TheirValue {
    let found = attributes.iter().find(|attribute| attribute.key == key).expect(key);
    found.value.as_ref().and_then(|value| value.value.as_ref()).expect("a value")
}

/// A request, decoded with the definitions of the protocol.
fn decoded(event: Event) -> collector::ExportLogsServiceRequest {
    let encoded = Arc::new(EncodedEvent::new(event).expect("JSON"));
    let otlp = Otlp::new(&"http://127.0.0.1:4318/".parse().expect("a URL"), EventFormat::default());
    let post = otlp.post(&[encoded]).expect("a request");
    assert_eq!(post.uri, "http://127.0.0.1:4318/v1/logs");
    assert_eq!(post.content_type, "application/x-protobuf");
    collector::ExportLogsServiceRequest::decode(post.body).expect("OTLP")
}

#[test]
fn a_record_has_the_fields_of_the_protocol() {
    let request = decoded(testing::event(EventName::UnexpectedOwner));
    let resource = &request.resource_logs[0].resource.as_ref().expect("a resource").attributes;
    assert_eq!(find(resource, "service.name"), &TheirValue::StringValue("ghostport".into()));
    assert_eq!(find(resource, "host.name"), &TheirValue::StringValue("web1".into()));
    let scope = &request.resource_logs[0].scope_logs[0];
    assert_eq!(scope.scope.as_ref().expect("a scope").name, "ghostport");
    let [record] = scope.log_records.as_slice() else { panic!("one record") };
    assert_eq!(record.time_unix_nano, 1_000_000_001);
    assert!(record.observed_time_unix_nano > record.time_unix_nano);
    assert_eq!(record.event_name, "ghostport.unexpected_owner");
    assert_eq!(record.severity_number(), SeverityNumber::Error2);
    let body = record.body.as_ref().and_then(|body| body.value.as_ref());
    let sentence = "nc[4711] is not expected on port 2948/tcp (wap-push), and bound it";
    assert_eq!(body, Some(&TheirValue::StringValue(sentence.into())));
    assert_eq!(find(&record.attributes, "network.local.port"), &TheirValue::IntValue(2948));
    assert_eq!(find(&record.attributes, "ghostport.expected"), &TheirValue::BoolValue(false));
    let TheirValue::ArrayValue(args) = find(&record.attributes, "process.command_args") else {
        panic!("a list")
    };
    assert_eq!(args.values.len(), 3);
    assert!(record.attributes.iter().all(|attribute| !PLACED.contains(&attribute.key.as_str())));
}

#[test]
fn writes_seconds_as_a_double() {
    let request = decoded(testing::event(EventName::Awakened));
    let attributes = &request.resource_logs[0].scope_logs[0].log_records[0].attributes;
    let seconds = find(attributes, "ghostport.dormant_for_seconds");
    assert_eq!(seconds, &TheirValue::DoubleValue(90.5));
}

#[test]
fn routine_events_have_severity_info() {
    let context = EventContext { host_name: "web1".into(), clock_offset_ns: 0 };
    let request = decoded(Event::agent_stopped(Timestamp::UNIX_EPOCH, "SIGTERM", &context));
    let record = &request.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!(record.severity_number(), SeverityNumber::Info);
}

#[test]
fn reads_rejected_records_from_the_answer() {
    let otlp = Otlp::new(&"http://127.0.0.1:4318".parse().expect("a URL"), EventFormat::default());
    let answer = |rejected_log_records| collector::ExportLogsServiceResponse {
        partial_success: Some(collector::ExportLogsPartialSuccess {
            rejected_log_records,
            error_message: "full".into(),
        }),
    };
    assert_eq!(otlp.left_out(&answer(3).encode_to_vec()), 3);
    assert_eq!(otlp.left_out(&answer(-1).encode_to_vec()), 0);
    assert_eq!(otlp.left_out(b""), 0);
    assert_eq!(otlp.left_out(b"<html>"), 0);
    assert!(otlp.is_passing(StatusCode::SERVICE_UNAVAILABLE));
    assert!(!otlp.is_passing(StatusCode::INTERNAL_SERVER_ERROR));
}
