//! The table of keys of a sink.

use super::value::NestedKey;

/// Kinds of sinks.
pub const KINDS: [&str; 7] =
    ["stdout", "file", "journal", "syslog", "webhook", "alertmanager", "otlp"];

/// Those that go over HTTP.
const HTTP: &[&str] = &["webhook", "alertmanager", "otlp"];

/// Those with a receiver that others may share.
const ELSEWHERE: &[&str] = &["syslog", "webhook", "alertmanager", "otlp"];

/// Those that take events in another format than the project's own.
const FORMATTED: &[&str] = &["stdout", "file", "journal", "syslog", "webhook", "otlp"];

/// A key of a sink, and the kinds of sinks that take it.
#[derive(Clone, Copy, Debug)]
pub struct SinkKey {
    /// The key.
    pub key: NestedKey,
    /// The kinds that take it; empty for all.
    pub kinds: &'static [&'static str],
}

const fn key(
    name: &'static str,
    kinds: &'static [&'static str],
    value: &'static str,
    help: &'static str,
) -> SinkKey {
    SinkKey { key: NestedKey { name, value, help }, kinds }
}

/// The keys of a sink.
pub const SINK_KEYS: [SinkKey; 16] = [
    key(
        "kind",
        &[],
        "`stdout`, `file`, `journal`, `syslog`, `webhook`, `alertmanager` or `otlp`; required",
        "What the sink is.",
    ),
    key(
        "path",
        &["file"],
        "absolute path, required",
        "The file that events are appended to, one JSON object a line.",
    ),
    key(
        "max_size",
        &["file"],
        "size or `none`, `64MiB`",
        "The size at which the file is renamed to `PATH.000001`, `PATH.000002` and so on, and another \
         one begins.",
    ),
    key(
        "keep",
        &["file"],
        "number from 1 to 999, `5`",
        "How many of the renamed files are kept; the oldest are removed.",
    ),
    key(
        "reserve",
        &["file"],
        "size, `none` or `auto`; `auto`",
        "Space of the disk that is left to others: events that would leave less are lost. `auto` is \
         64 MiB, or a twentieth of the disk if that is less.",
    ),
    key(
        "address",
        &["syslog"],
        "address, required",
        "Where a syslog server listens: `unix:/dev/log`, or `udp:`, `tcp:` or `tls:` before a host and \
         a port, as `tls:logs.example.org:6514`.",
    ),
    key(
        "url",
        &["webhook", "alertmanager"],
        "URL, required",
        "Where events are posted; of an Alertmanager its address without `/api/v2`.",
    ),
    key("endpoint", &["otlp"], "URL, required", "The address of the receiver, without `/v1/logs`."),
    key(
        "template",
        &["webhook"],
        "template, a JSON array of events",
        "The body of a request, in the language of Jinja; see \
         [templates](../operate/sinks.md#templates). It is tried with an event of every kind when \
         the configuration is read.",
    ),
    key("kinds", &[], "list of kinds, all", "Only events of these kinds, as `[bind, awakened]`."),
    key(
        "min_severity",
        &[],
        "`info`, `warning` or `critical`; `info`",
        "Only events of this `ghostport.severity` or a higher one.",
    ),
    key(
        "labels",
        &[],
        "mapping, `{}`",
        "Names and values that every event has as `ghostport.labels`. Of an Alertmanager: labels of \
         every alert, beside or in place of `instance` and `job`.",
    ),
    key(
        "headers_file",
        HTTP,
        "absolute path, none",
        "A file with headers of every request, one `Name: value` a line, for secrets. A change \
         inside the file needs no reload.",
    ),
    key(
        "linger",
        HTTP,
        "duration up to `1m`, none",
        "How long the first event of a request waits for others.",
    ),
    key(
        "rate",
        ELSEWHERE,
        "number from 1 to 1000000, `500`",
        "How many events the receiver gets in a second at most; the others wait in the queue.",
    ),
    key(
        "format",
        FORMATTED,
        "`ghostport`, `ecs`, `ocsf` or `cef`; `ghostport`",
        "The [format](formats.md) of events. A webhook takes no `cef`, and no format beside a `template`.",
    ),
];
