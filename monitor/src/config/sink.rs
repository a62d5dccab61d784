//! Sinks, as they are configured.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    url::{self, HttpUrl},
    value::{NestedKey, absolute, choice, one_of, section, string},
    yaml::{Node, Position, Problem, Value, excerpt},
};

/// A place where events are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkConfig {
    /// The standard output of the agent.
    Stdout,
    /// A file that events are appended to.
    File {
        /// Its absolute path.
        path: PathBuf,
    },
    /// The journal of this host.
    Journal,
    /// An HTTP server that takes events as JSON.
    Webhook {
        /// Where they are posted.
        url: HttpUrl,
    },
    /// An Alertmanager.
    Alertmanager {
        /// Its address, without `/api/v2`.
        url: HttpUrl,
        /// Labels of every alert, beside or in the place of `instance` and `job`.
        labels: BTreeMap<String, String>,
    },
    /// A receiver of OTLP logs.
    Otlp {
        /// Its address, without `/v1/logs`.
        endpoint: HttpUrl,
    },
}

const KINDS: [&str; 6] = ["stdout", "file", "journal", "webhook", "alertmanager", "otlp"];

/// A key of a sink, and the kinds of sinks that take it.
#[derive(Clone, Copy, Debug)]
pub struct SinkKey {
    /// The key.
    pub key: NestedKey,
    /// The kinds that take it; empty for all.
    pub kinds: &'static [&'static str],
}

/// The keys of a sink.
pub const SINK_KEYS: [SinkKey; 5] = [
    SinkKey {
        key: NestedKey {
            name: "kind",
            value: "`stdout`, `file`, `journal`, `webhook`, `alertmanager` or `otlp`; required",
            help: "What the sink is.",
        },
        kinds: &[],
    },
    SinkKey {
        key: NestedKey {
            name: "path",
            value: "absolute path, required",
            help: "The file that events are appended to, one JSON object a line.",
        },
        kinds: &["file"],
    },
    SinkKey {
        key: NestedKey {
            name: "url",
            value: "URL, required",
            help: "Where events are posted; of an Alertmanager its address without `/api/v2`.",
        },
        kinds: &["webhook", "alertmanager"],
    },
    SinkKey {
        key: NestedKey {
            name: "labels",
            value: "mapping, `{}`",
            help: "Labels of every alert, beside or in place of `instance` and `job`.",
        },
        kinds: &["alertmanager"],
    },
    SinkKey {
        key: NestedKey {
            name: "endpoint",
            value: "URL, required",
            help: "The address of the receiver, without `/v1/logs`.",
        },
        kinds: &["otlp"],
    },
];

/// Labels that every alert has of its own.
const OWN_LABELS: [&str; 5] = ["alertname", "severity", "port", "protocol", "reporter"];

/// Reads a sink.
pub(super) fn sink(node: Node<'_>) -> Result<SinkConfig, Problem> {
    let position = node.position;
    let [kind, path, url, labels, endpoint] = section(node, SINK_KEYS.map(|key| key.key.name))?;
    let Some(kind) = kind else {
        return Err(Problem::new(position, "the key `kind` is missing", one_of(KINDS)));
    };
    let kind = choice(kind, KINDS, |kind| kind)?;
    refuse_keys_of_others(kind, [&path, &url, &labels, &endpoint])?;
    Ok(match kind {
        "file" => {
            let path = required(path, "path", "the path of the file", position)?;
            let path = absolute(&path, "an absolute path, as /var/log/ghostport/events.jsonl")?;
            SinkConfig::File { path: PathBuf::from(path) }
        }
        "journal" => SinkConfig::Journal,
        "webhook" => SinkConfig::Webhook { url: http_url(url, "url", position)? },
        "alertmanager" => SinkConfig::Alertmanager {
            url: http_url(url, "url", position)?,
            labels: labels.map(alert_labels).transpose()?.unwrap_or_default(),
        },
        "otlp" => SinkConfig::Otlp { endpoint: http_url(endpoint, "endpoint", position)? },
        _ => SinkConfig::Stdout,
    })
}

/// `given` are the values of [`SINK_KEYS`] after `kind`.
fn refuse_keys_of_others(kind: &str, given: [&Option<Node<'_>>; 4]) -> Result<(), Problem> {
    for (SinkKey { key: NestedKey { name: key, .. }, kinds }, value) in
        SINK_KEYS.into_iter().skip(1).zip(given)
    {
        if let Some(value) = value
            && !kinds.contains(&kind)
        {
            let message = format!("the sink {kind} has no {key}");
            let expected = format!("kind: {}, or no {key}", one_of(kinds));
            return Err(Problem::new(value.position, message, expected));
        }
    }
    Ok(())
}

fn required<'text>(
    value: Option<Node<'text>>,
    key: &str,
    expected: &str,
    position: Position,
) -> Result<Node<'text>, Problem> {
    value.ok_or_else(|| Problem::new(position, format!("the key `{key}` is missing"), expected))
}

fn http_url(value: Option<Node<'_>>, key: &str, position: Position) -> Result<HttpUrl, Problem> {
    let value = required(value, key, url::EXPECTED, position)?;
    // The text is not shown: it may be a secret.
    string(&value, url::EXPECTED)?.parse().map_err(|error: url::UrlError| {
        Problem::new(value.position, error.to_string(), url::EXPECTED)
    })
}

fn alert_labels(node: Node<'_>) -> Result<BTreeMap<String, String>, Problem> {
    const LABELS: &str = "names of labels and their values, as {instance: \"web1:10948\"}";
    let Value::Mapping(entries) = node.value else {
        let message = format!("{} in the place of a mapping", node.value);
        return Err(Problem::new(node.position, message, LABELS));
    };
    let mut labels = BTreeMap::new();
    for entry in entries {
        let name = &*entry.key;
        let message = if !is_label_name(name) {
            format!("`{}` is not the name of a label", excerpt(name))
        } else if OWN_LABELS.contains(&name) {
            format!("every alert has a {name} of its own")
        } else if labels.contains_key(name) {
            format!("the label `{name}` is there twice")
        } else {
            labels.insert(name.to_owned(), string(&entry.value, LABELS)?.to_owned());
            continue;
        };
        return Err(Problem::new(entry.key_position, message, LABELS));
    }
    Ok(labels)
}

/// <https://prometheus.io/docs/concepts/data_model/>
fn is_label_name(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_word) && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}
