//! Sinks, as they are configured.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    disk_reserve::DiskReserve,
    sink_keys::{KINDS, SINK_KEYS, SinkKey},
    syslog::{self, SyslogAddress, SyslogAddressError},
    template::{self, Template},
    url::{self, HttpUrl},
    value::{
        NestedKey, absolute, choice, disk_reserve, duration, list, one_of, section, size_or_none,
        string,
    },
    yaml::{Node, Position, Problem, Value, excerpt},
};
use crate::{
    event::{EventName, Severity},
    formats::EventFormat,
};

/// A place where events are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkConfig {
    /// The place.
    pub target: SinkTarget,
    /// Which events it takes.
    pub filter: EventFilter,
    /// Labels of every event, or of every alert.
    pub labels: BTreeMap<String, String>,
    /// Events that a receiver elsewhere gets in a second at most; of no meaning for the others.
    pub rate: NonZeroU32,
    /// The format of events; of no meaning for an Alertmanager and beside a template.
    pub format: EventFormat,
}

/// What a sink writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkTarget {
    /// The standard output of the agent.
    Stdout,
    /// A file that events are appended to.
    File {
        /// Its absolute path.
        path: PathBuf,
        /// What keeps it from filling the disk.
        limits: FileLimits,
    },
    /// The journal of this host.
    Journal,
    /// A syslog server.
    Syslog {
        /// Where it listens.
        address: SyslogAddress,
    },
    /// An HTTP server that takes events as JSON.
    Webhook {
        /// Where they are posted.
        url: HttpUrl,
        /// The body of a request; `None` for an array of events.
        template: Option<Template>,
        /// How it is asked.
        http: HttpOptions,
    },
    /// An Alertmanager.
    Alertmanager {
        /// Its address, without `/api/v2`.
        url: HttpUrl,
        /// How it is asked.
        http: HttpOptions,
    },
    /// A receiver of OTLP logs.
    Otlp {
        /// Its address, without `/v1/logs`.
        endpoint: HttpUrl,
        /// How it is asked.
        http: HttpOptions,
    },
}

/// Which events a sink takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFilter {
    /// Only these kinds, each once; `None` for all.
    pub kinds: Option<Vec<EventName>>,
    /// Only this severity or a higher one.
    pub min_severity: Severity,
}

/// How an HTTP server is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpOptions {
    /// The file with headers of every request.
    pub headers_file: Option<PathBuf>,
    /// How long the first event of a request waits for others.
    pub linger: Option<Duration>,
}

/// What keeps a file from filling the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLimits {
    /// Bytes at which it is renamed, and another one begins; `None` for no limit.
    pub max_size: Option<u64>,
    /// How many of those that were renamed are kept.
    pub keep: u32,
    /// What is left of the disk.
    pub reserve: DiskReserve,
}

impl Default for FileLimits {
    fn default() -> Self {
        Self { max_size: Some(64 << 20), keep: 5, reserve: DiskReserve::Usual }
    }
}

/// The default of [`SinkConfig::rate`].
pub const DEFAULT_RATE: NonZeroU32 = NonZeroU32::new(500).expect("not zero");

/// The highest [`SinkConfig::rate`].
const HIGHEST_RATE: u32 = 1_000_000;

impl EventFilter {
    /// Takes every event.
    pub const ALL: Self = Self { kinds: None, min_severity: Severity::Info };

    /// Whether an event of this kind and severity is taken.
    pub fn takes(&self, kind: EventName, severity: Severity) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
            && severity >= self.min_severity
    }
}

impl SinkConfig {
    /// A sink that takes every event and adds nothing.
    pub const fn new(target: SinkTarget) -> Self {
        Self {
            target,
            filter: EventFilter::ALL,
            labels: BTreeMap::new(),
            rate: DEFAULT_RATE,
            format: EventFormat::Ghostport,
        }
    }
}

impl SinkTarget {
    /// A file with the usual limits.
    pub fn file(path: &Path) -> Self {
        Self::File { path: path.to_owned(), limits: FileLimits::default() }
    }

    /// How it is asked, if that is over HTTP.
    pub const fn http(&self) -> Option<&HttpOptions> {
        match self {
            Self::Webhook { http, .. }
            | Self::Alertmanager { http, .. }
            | Self::Otlp { http, .. } => Some(http),
            Self::Stdout | Self::File { .. } | Self::Journal | Self::Syslog { .. } => None,
        }
    }
}

/// Labels that every alert has of its own.
const OWN_LABELS: [&str; 5] = ["alertname", "severity", "port", "protocol", "reporter"];

/// The most that `keep` may be.
const MOST_KEPT: u32 = 999;

/// The longest `linger`.
const LONGEST_LINGER: Duration = Duration::from_secs(60);

/// Reads a sink.
pub(super) fn sink(node: Node<'_>) -> Result<SinkConfig, Problem> {
    let position = node.position;
    let mut values = section(node, SINK_KEYS.map(|key| key.key.name))?;
    let Some(kind) = values[0].take() else {
        return Err(Problem::new(position, "the key `kind` is missing", one_of(KINDS)));
    };
    let kind = choice(kind, KINDS, |kind| kind)?;
    refuse_keys_of_others(kind, &values)?;
    let [
        _,
        path,
        max_size,
        keep,
        reserve,
        address,
        url,
        endpoint,
        template,
        kinds,
        severity,
        labels,
        headers_file,
        linger,
        rate,
        format,
    ] = values;
    let filter = EventFilter {
        kinds: kinds.map(event_kinds).transpose()?,
        min_severity: match severity {
            Some(severity) => choice(severity, Severity::ALL, Severity::name)?,
            None => Severity::Info,
        },
    };
    let labels = labels.map(|node| read_labels(node, kind)).transpose()?.unwrap_or_default();
    let http = HttpOptions {
        headers_file: headers_file
            .map(|file| {
                absolute(&file, "an absolute path, as /etc/ghostport/headers").map(Into::into)
            })
            .transpose()?,
        linger: linger.map(|linger| read_linger(&linger)).transpose()?,
    };
    let target = match kind {
        "file" => {
            let path = required(path, "path", "the path of the file", position)?;
            let path = absolute(&path, "an absolute path, as /var/log/ghostport/events.jsonl")?;
            let limits = file_limits(max_size, keep, reserve)?;
            SinkTarget::File { path: PathBuf::from(path), limits }
        }
        "journal" => SinkTarget::Journal,
        "syslog" => SinkTarget::Syslog { address: syslog_address(address, position)? },
        "webhook" => SinkTarget::Webhook {
            url: http_url(url, "url", position)?,
            template: template.map(|node| read_template(&node, &filter)).transpose()?,
            http,
        },
        "alertmanager" => SinkTarget::Alertmanager { url: http_url(url, "url", position)?, http },
        "otlp" => SinkTarget::Otlp { endpoint: http_url(endpoint, "endpoint", position)?, http },
        _ => SinkTarget::Stdout,
    };
    let rate = rate.map_or(Ok(DEFAULT_RATE), |rate| count(&rate, HIGHEST_RATE))?;
    let format =
        format.map_or(Ok(EventFormat::default()), |format| read_format(format, &target))?;
    Ok(SinkConfig { target, filter, labels, rate, format })
}

fn read_format(node: Node<'_>, target: &SinkTarget) -> Result<EventFormat, Problem> {
    let position = node.position;
    let format = choice(node, EventFormat::ALL, EventFormat::name)?;
    match target {
        SinkTarget::Webhook { template: Some(_), .. } => {
            let message = "a template makes the body, so that a format has no effect";
            Err(Problem::new(position, message, "a template or a format"))
        }
        SinkTarget::Webhook { .. } if !format.is_json() => {
            let message = format!("a webhook takes JSON, which {} is not", format.name());
            let json = EventFormat::ALL.into_iter().filter(|format| format.is_json());
            Err(Problem::new(position, message, one_of(json.map(EventFormat::name))))
        }
        _ => Ok(format),
    }
}

/// `values` are those of [`SINK_KEYS`].
fn refuse_keys_of_others(kind: &str, values: &[Option<Node<'_>>]) -> Result<(), Problem> {
    for (SinkKey { key: NestedKey { name: key, .. }, kinds }, value) in SINK_KEYS.iter().zip(values)
    {
        if let Some(value) = value
            && !kinds.is_empty()
            && !kinds.contains(&kind)
        {
            let message = format!("the sink {kind} has no {key}");
            let expected = format!("kind: {}, or no {key}", one_of(*kinds));
            return Err(Problem::new(value.position, message, expected));
        }
    }
    Ok(())
}

fn event_kinds(node: Node<'_>) -> Result<Vec<EventName>, Problem> {
    let position = node.position;
    let expected = || one_of(EventName::ALL.map(EventName::kind));
    let mut kinds = list(node, "a list of kinds, as [bind, awakened]", |item| {
        let name = string(&item, "the kind of an event")?;
        EventName::from_kind(name).ok_or_else(|| {
            let message = format!("`{}` is no kind of event", excerpt(name));
            Problem::new(item.position, message, expected())
        })
    })?;
    if kinds.is_empty() {
        return Err(Problem::new(position, "no kind is named", expected()));
    }
    let mut seen = Vec::new();
    kinds.retain(|kind| !seen.contains(kind) && (seen.push(*kind), true).1);
    Ok(kinds)
}

fn file_limits(
    max_size: Option<Node<'_>>,
    keep: Option<Node<'_>>,
    reserve: Option<Node<'_>>,
) -> Result<FileLimits, Problem> {
    let FileLimits { max_size: usual_size, keep: usual_keep, reserve: usual_reserve } =
        FileLimits::default();
    Ok(FileLimits {
        max_size: max_size.map_or(Ok(usual_size), |node| size_or_none(&node))?,
        keep: keep.map_or(Ok(usual_keep), |node| count(&node, MOST_KEPT).map(NonZeroU32::get))?,
        reserve: reserve.map_or(Ok(usual_reserve), |node| disk_reserve(&node))?,
    })
}

/// A number from 1 to `most`.
fn count(node: &Node<'_>, most: u32) -> Result<NonZeroU32, Problem> {
    let expected = format!("a number from 1 to {most}");
    let text = string(node, &expected)?;
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number: &NonZeroU32| is_number && number.get() <= most);
    number.ok_or_else(|| {
        let message = format!("`{}` is no number that can be used", excerpt(text));
        Problem::new(node.position, message, expected)
    })
}

fn read_linger(node: &Node<'_>) -> Result<Duration, Problem> {
    let linger = duration(node)?;
    if linger > LONGEST_LINGER {
        let message = "events would wait for too long";
        return Err(Problem::new(node.position, message, "a duration up to 1m"));
    }
    Ok(linger)
}

/// A template, whose errors are where they stand in the file if it is written as it is (`|`).
fn read_template(node: &Node<'_>, filter: &EventFilter) -> Result<Template, Problem> {
    let text = string(node, template::EXPECTED)?;
    Template::parse(text, |kind, severity| filter.takes(kind, severity)).map_err(|error| {
        let is_literal = matches!(node.value, Value::Literal(_));
        let (position, place) = match error.place {
            Some((line, column)) if is_literal => (node.position.inside(line, column), None),
            Some((line, column)) => (node.position, Some(format!("{line}:{column}: "))),
            None => (node.position, None),
        };
        let message = format!("{}{}", place.unwrap_or_default(), error.message);
        Problem::new(position, message, template::EXPECTED)
    })
}

fn required<'text>(
    value: Option<Node<'text>>,
    key: &str,
    expected: &str,
    position: Position,
) -> Result<Node<'text>, Problem> {
    value.ok_or_else(|| Problem::new(position, format!("the key `{key}` is missing"), expected))
}

fn syslog_address(value: Option<Node<'_>>, position: Position) -> Result<SyslogAddress, Problem> {
    let value = required(value, "address", syslog::EXPECTED, position)?;
    string(&value, syslog::EXPECTED)?.parse().map_err(|error: SyslogAddressError| {
        Problem::new(value.position, error.to_string(), syslog::EXPECTED)
    })
}

fn http_url(value: Option<Node<'_>>, key: &str, position: Position) -> Result<HttpUrl, Problem> {
    let value = required(value, key, url::EXPECTED, position)?;
    // The text is not shown: it may be a secret.
    string(&value, url::EXPECTED)?.parse().map_err(|error: url::UrlError| {
        Problem::new(value.position, error.to_string(), url::EXPECTED)
    })
}

fn read_labels(node: Node<'_>, kind: &str) -> Result<BTreeMap<String, String>, Problem> {
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
        } else if kind == "alertmanager" && OWN_LABELS.contains(&name) {
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
