//! A configuration as YAML, every key written out.

use std::{fmt, path::Path};

use super::{Config, Expectation, Pattern, SinkConfig, UserMatch, WatchedPort, quantity};

impl fmt::Display for Config {
    /// YAML that reads back as the same configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ports:")?;
        self.ports.iter().try_for_each(|port| writeln!(f, "  - {}", watched_port(port)))?;
        writeln!(f, "interfaces:")?;
        let pattern = |pattern: &Pattern| quoted(pattern.as_str());
        writeln!(f, "  include: {}", flow_list(&self.interfaces.include, pattern))?;
        writeln!(f, "  exclude: {}", flow_list(&self.interfaces.exclude, pattern))?;
        writeln!(f, "  mode: {}", self.interfaces.mode.name())?;
        writeln!(f, "bind:\n  mechanism: {}", self.bind_mechanism.name())?;
        writeln!(f, "payload:\n  capture: {}", self.payload.capture)?;
        writeln!(f, "  keep: {}", self.payload.keep.name())?;
        writeln!(f, "process:\n  command_line: {}", self.command_line)?;
        writeln!(f, "store:\n  path: {}", quoted_path(&self.store.path))?;
        writeln!(f, "  retain: {}", quantity::format_duration(self.store.retain))?;
        writeln!(f, "  max_size: {}", quantity::format_size(self.store.max_size))?;
        let listen = flow_list(&self.web_listen, |address| quoted(&address.to_string()));
        writeln!(f, "web:\n  listen: {listen}")?;
        let file = self.web_config_file.as_deref().map_or("null".into(), quoted_path);
        writeln!(f, "  config_file: {file}\n  details: {}", self.web_details.name())?;
        writeln!(f, "sinks: {}", flow_list(&self.sinks, sink))
    }
}

fn watched_port(port: &WatchedPort) -> String {
    let dormant_after = quantity::format_duration(port.dormant_after);
    let expect = flow_list(&port.expect, expectation);
    format!("{{port: {}, dormant_after: {dormant_after}, expect: {expect}}}", port.number)
}

/// What is named of it, in the order in which the documentation has it.
fn expectation(expectation: &Expectation) -> String {
    let user = expectation.user.as_ref().map(|user| match user {
        UserMatch::Id(id) => id.to_string(),
        UserMatch::Name(name) => quoted(name),
    });
    let fields = [
        ("exe", expectation.exe.as_ref().map(|exe| quoted(exe.as_str()))),
        ("user", user),
        ("unit", expectation.unit.as_ref().map(|unit| quoted(unit.as_str()))),
        ("container", expectation.container.as_ref().map(|id| quoted(id.as_str()))),
    ];
    let named = fields.into_iter().filter_map(|(key, value)| Some(format!("{key}: {}", value?)));
    format!("{{{}}}", named.collect::<Vec<String>>().join(", "))
}

fn sink(sink: &SinkConfig) -> String {
    match sink {
        SinkConfig::Stdout => "{kind: stdout}".into(),
        SinkConfig::File { path } => format!("{{kind: file, path: {}}}", quoted_path(path)),
        SinkConfig::Journal => "{kind: journal}".into(),
        SinkConfig::Webhook { url } => {
            format!("{{kind: webhook, url: {}}}", quoted(&url.to_string()))
        }
        SinkConfig::Alertmanager { url, labels } => {
            let url = quoted(&url.to_string());
            let labels: Vec<String> =
                labels.iter().map(|(name, value)| format!("{name}: {}", quoted(value))).collect();
            format!("{{kind: alertmanager, url: {url}, labels: {{{}}}}}", labels.join(", "))
        }
        SinkConfig::Otlp { endpoint } => {
            format!("{{kind: otlp, endpoint: {}}}", quoted(&endpoint.to_string()))
        }
    }
}

fn flow_list<T>(items: &[T], show: impl Fn(&T) -> String) -> String {
    let items: Vec<String> = items.iter().map(show).collect();
    format!("[{}]", items.join(", "))
}

fn quoted_path(path: &Path) -> String {
    // A path out of a YAML text is UTF-8, so nothing is lost.
    quoted(&path.to_string_lossy())
}

/// A double-quoted scalar; a JSON string is one.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
