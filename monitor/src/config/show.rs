//! Values of the configuration as YAML that reads back as the same values.

use std::{fmt, net::SocketAddr, path::Path};

use super::{
    disk_reserve::DiskReserve,
    expect::{Expectation, UserMatch},
    interfaces::InterfacePattern,
    listeners::ListenerExpectation,
    port::WatchedPort,
    quantity,
    sink::{DEFAULT_RATE, FileLimits, SinkConfig, SinkTarget},
    url::HttpUrl,
};
use crate::{event::Severity, formats::EventFormat};

/// A block list, one port a line, which begins with a line break.
pub(super) fn ports(ports: &[WatchedPort]) -> String {
    ports.iter().map(|port| format!("\n  - {}", watched_port(port))).collect()
}

/// A list of globs.
pub(super) fn patterns(patterns: &[InterfacePattern]) -> String {
    flow_list(patterns, |pattern| quoted(&pattern.to_string()))
}

/// A list of addresses.
pub(super) fn addresses(addresses: &[SocketAddr]) -> String {
    flow_list(addresses, |address| quoted(&address.to_string()))
}

/// A list of sinks.
pub(super) fn sinks(sinks: &[SinkConfig]) -> String {
    flow_list(sinks, sink)
}

/// A path, or `null`.
pub(super) fn optional_path(path: Option<&Path>) -> String {
    path.map_or_else(|| "null".into(), quoted_path)
}

fn watched_port(port: &WatchedPort) -> String {
    let dormant_after = quantity::format_duration(port.dormant_after);
    let expect = flow_list(&port.expect, Expectation::to_string);
    format!("{{port: {}, dormant_after: {dormant_after}, expect: {expect}}}", port.number)
}

/// A list of listeners.
pub(super) fn listener_expectations(expectations: &[ListenerExpectation]) -> String {
    flow_list(expectations, ListenerExpectation::to_string)
}

impl fmt::Display for ListenerExpectation {
    /// As YAML.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{port: {}, {}}}", self.ports, expectation_fields(&self.owner))
    }
}

impl fmt::Display for Expectation {
    /// As YAML.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", expectation_fields(self))
    }
}

/// Only the fields that are set, in the order of the reference.
fn expectation_fields(expectation: &Expectation) -> String {
    let user = expectation.user.as_ref().map(|user| match user {
        UserMatch::Id(id) => id.to_string(),
        UserMatch::Name(name) => quoted(name),
    });
    let fields = [
        ("exe", expectation.exe.as_ref().map(|exe| quoted(exe.as_str()))),
        ("sha256", expectation.sha256.as_ref().map(|hash| quoted(hash.as_str()))),
        ("package", expectation.package.as_ref().map(|name| quoted(name.as_str()))),
        ("user", user),
        ("unit", expectation.unit.as_ref().map(|unit| quoted(unit.as_str()))),
        ("container", expectation.container.as_ref().map(|id| quoted(id.as_str()))),
        ("until", expectation.until.map(|day| day.to_string())),
    ];
    let named = fields.into_iter().filter_map(|(key, value)| Some(format!("{key}: {}", value?)));
    named.collect::<Vec<String>>().join(", ")
}

/// Only the keys that are set, in the order of the reference.
fn sink(sink: &SinkConfig) -> String {
    let SinkConfig { target, filter, labels, rate, format } = sink;
    let url = |url: &HttpUrl| Some(quoted(&url.to_string()));
    let (kind, place) = match target {
        SinkTarget::Stdout => ("stdout", None),
        SinkTarget::File { path, .. } => ("file", Some(("path", Some(quoted_path(path))))),
        SinkTarget::Journal => ("journal", None),
        SinkTarget::Syslog { address } => {
            ("syslog", Some(("address", Some(quoted(&address.to_string())))))
        }
        SinkTarget::Webhook { url: to, .. } => ("webhook", Some(("url", url(to)))),
        SinkTarget::Alertmanager { url: to, .. } => ("alertmanager", Some(("url", url(to)))),
        SinkTarget::Otlp { endpoint, .. } => ("otlp", Some(("endpoint", url(endpoint)))),
    };
    let template = match target {
        SinkTarget::Webhook { template: Some(template), .. } => Some(quoted(template.text())),
        _ => None,
    };
    let kinds = filter.kinds.as_deref().map(|kinds| flow_list(kinds, |kind| kind.kind().into()));
    let severity = filter.min_severity;
    let severity = (severity != Severity::Info).then(|| severity.name().to_owned());
    let labels = (!labels.is_empty()).then(|| {
        let labels = labels.iter().map(|(name, value)| format!("{name}: {}", quoted(value)));
        format!("{{{}}}", labels.collect::<Vec<String>>().join(", "))
    });
    let http = target.http();
    let headers = http.and_then(|http| http.headers_file.as_deref()).map(quoted_path);
    let linger = http.and_then(|http| http.linger).map(quantity::format_duration);
    let rate = (*rate != DEFAULT_RATE).then(|| rate.to_string());
    let format = (*format != EventFormat::default()).then(|| format.name().to_owned());
    let limits = match target {
        SinkTarget::File { limits, .. } => file_limits(limits),
        _ => [const { None }; 3],
    };
    let limits = ["max_size", "keep", "reserve"].into_iter().zip(limits);
    let fields = [("kind", Some(kind.to_owned()))].into_iter().chain(place).chain(limits).chain([
        ("template", template),
        ("kinds", kinds),
        ("min_severity", severity),
        ("labels", labels),
        ("headers_file", headers),
        ("linger", linger),
        ("rate", rate),
        ("format", format),
    ]);
    let set = fields.filter_map(|(key, value)| Some(format!("{key}: {}", value?)));
    format!("{{{}}}", set.collect::<Vec<String>>().join(", "))
}

/// `max_size`, `keep` and `reserve`, if they are not the usual ones.
fn file_limits(limits: &FileLimits) -> [Option<String>; 3] {
    let usual = FileLimits::default();
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "none".into(), quantity::format_size);
    [
        (limits.max_size != usual.max_size).then(|| size(limits.max_size)),
        (limits.keep != usual.keep).then(|| limits.keep.to_string()),
        (limits.reserve != usual.reserve).then(|| disk_reserve(limits.reserve)),
    ]
}

/// A size, `none` or `auto`.
pub(super) fn disk_reserve(reserve: DiskReserve) -> String {
    match reserve {
        DiskReserve::Usual => "auto".into(),
        DiskReserve::Bytes(0) => "none".into(),
        DiskReserve::Bytes(bytes) => quantity::format_size(bytes),
    }
}

fn flow_list<T>(items: &[T], show: impl Fn(&T) -> String) -> String {
    let items: Vec<String> = items.iter().map(show).collect();
    format!("[{}]", items.join(", "))
}

/// A path as a quoted scalar.
pub(super) fn quoted_path(path: &Path) -> String {
    // A path from a YAML text is UTF-8, so nothing is lost.
    quoted(&path.to_string_lossy())
}

/// A double-quoted scalar; a JSON string is one.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
