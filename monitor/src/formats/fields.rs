//! The fields of an event.

use jiff::Timestamp;
use serde_json::{Map, Value};

/// The JSON object of an event.
pub(super) struct Fields<'a>(&'a Map<String, Value>);

/// An end of a conversation or of a socket.
#[derive(Clone, Copy, Default)]
pub(super) struct End<'a> {
    pub(super) address: Option<&'a str>,
    pub(super) port: Option<u64>,
    /// The name of the host, if it is this one.
    pub(super) host: Option<&'a str>,
}

/// How much an event matters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Info,
    Warning,
    Critical,
}

impl<'a> Fields<'a> {
    pub(super) const fn new(fields: &'a Map<String, Value>) -> Self {
        Self(fields)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name)
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name)?.as_str()
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.as_u64()
    }

    /// The strings of a list.
    pub(super) fn texts(&self, name: &str) -> Vec<&'a str> {
        let list = self.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// Milliseconds since 1970 of a time.
    pub(super) fn milliseconds(&self, name: &str) -> Option<i64> {
        let time: Timestamp = self.text(name)?.parse().ok()?;
        Some(time.as_millisecond())
    }

    /// The kind of the event, without `ghostport.`.
    pub(super) fn kind(&self) -> &'a str {
        let name = self.text("event.name").unwrap_or_default();
        name.strip_prefix("ghostport.").unwrap_or(name)
    }

    /// The kind; of a summary, that of the events which it stands for.
    pub(super) fn kind_within(&self) -> &'a str {
        match self.text("ghostport.summary_of") {
            // Binds of expected owners.
            Some("expected") => "bind",
            Some(kind) => kind,
            None => self.kind(),
        }
    }

    pub(super) fn level(&self) -> Level {
        match self.text("ghostport.severity") {
            Some("critical") => Level::Critical,
            Some("warning") => Level::Warning,
            _ => Level::Info,
        }
    }

    pub(super) fn local(&self) -> End<'a> {
        let end = self.end("network.local.address", "network.local.port");
        End { host: self.text("host.name"), ..end }
    }

    pub(super) fn peer(&self) -> End<'a> {
        self.end("network.peer.address", "network.peer.port")
    }

    fn end(&self, address: &str, port: &str) -> End<'a> {
        End { address: self.text(address), port: self.number(port), host: None }
    }

    /// From where to where the payload of a conversation went; `None` if the event is about none.
    pub(super) fn ends(&self) -> Option<(End<'a>, End<'a>)> {
        match self.text("network.io.direction")? {
            "transmit" => Some((self.local(), self.peer())),
            _ => Some((self.peer(), self.local())),
        }
    }

    /// From where to where an event goes: the ends of its conversation, or from here to its peer. A socket
    /// that waits is at the destination.
    pub(super) fn source_and_destination(&self) -> (End<'a>, End<'a>) {
        self.ends().unwrap_or_else(|| match self.peer() {
            peer if peer.is_known() => (self.local(), peer),
            _ => (End::default(), self.local()),
        })
    }

    /// A title for people: what happened, and where.
    pub(super) fn title(&self) -> String {
        let what = self.kind().replace('_', " ");
        let port = self.number("network.local.port").or_else(|| self.number("ghostport.port"));
        match (port, self.text("network.transport")) {
            (Some(port), Some(transport)) => format!("{what}: port {port}/{transport}"),
            (Some(port), None) => format!("{what}: port {port}"),
            _ => what,
        }
    }
}

/// A value as text: a string as it is, a list with commas between its values.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text_of).collect::<Vec<String>>().join(","),
        other => other.to_string(),
    }
}

impl End<'_> {
    pub(super) const fn is_known(&self) -> bool {
        self.address.is_some() || self.port.is_some()
    }
}
