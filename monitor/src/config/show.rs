//! A configuration as YAML, every key written out.

use std::{fmt, path::Path};

use super::{Config, Pattern, SinkConfig};

impl fmt::Display for Config {
    /// YAML that reads back as the same configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ports: {}", flow_list(&self.ports, u16::to_string))?;
        writeln!(f, "interfaces:")?;
        let pattern = |pattern: &Pattern| quoted(pattern.as_str());
        writeln!(f, "  include: {}", flow_list(&self.interfaces.include, pattern))?;
        writeln!(f, "  exclude: {}", flow_list(&self.interfaces.exclude, pattern))?;
        writeln!(f, "  mode: {}", self.interfaces.mode.name())?;
        writeln!(f, "bind:\n  mechanism: {}", self.bind_mechanism.name())?;
        writeln!(f, "process:\n  command_line: {}", self.command_line)?;
        let listen = flow_list(&self.web_listen, |address| quoted(&address.to_string()));
        writeln!(f, "web:\n  listen: {listen}")?;
        writeln!(f, "sinks: {}", flow_list(&self.sinks, sink))
    }
}

fn sink(sink: &SinkConfig) -> String {
    match sink {
        SinkConfig::Stdout => "{kind: stdout}".into(),
        SinkConfig::File { path } => format!("{{kind: file, path: {}}}", quoted_path(path)),
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
