//! Names and labels of alerts. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use monitor_common::flow::Protocol;
use serde::{Deserialize, Serialize};

use super::usage::Usage;
use crate::event::{Event, EventBody, ListenerNews};
use monitor_ledger::Cause;

/// Names of alerts. Those of Prometheus' rules in dashboards/prometheus are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AlertName {
    /// A socket was bound to a port that was dormant.
    BindOnDormantPort,
    /// A process that the configuration does not expect bound a port.
    UnexpectedOwner,
    /// A socket takes packets of watched ports and no others.
    PortCaptured,
    /// Something answers on a port that no socket holds.
    PortAnswered,
    /// A program listens that neither the baseline nor the configuration has.
    NewListener,
    /// Another program, user or scope than the baseline has listens on a port.
    ListenerChanged,
    /// A process sends to a watched port of another host.
    OutboundUse,
}

/// Job of the scrape configuration in dashboards/prometheus/prometheus.yml.
const JOB: &str = "ghostport";

/// The label that distinguishes these alerts from those of Prometheus, and its value. Alertmanager
/// inhibits the others by it.
pub(super) const REPORTER: (&str, &str) = ("reporter", "agent");

/// Labels that the configuration adds to every alert.
#[derive(Clone, Debug)]
pub(super) struct Labels(BTreeMap<String, String>);

/// Identity of an alert on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) name: AlertName,
    pub(super) port: Option<u16>,
    pub(super) protocol: Option<&'static str>,
}

/// Annotations of an alert, by name.
pub(super) type Annotations = BTreeMap<String, String>;

/// An alert of Alertmanager's API: `postableAlert` and `gettableAlert` of version 2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alert {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: Annotations,
    pub(super) starts_at: Timestamp,
    pub(super) ends_at: Timestamp,
}

impl AlertName {
    const ALL: [Self; 7] = [
        Self::BindOnDormantPort,
        Self::UnexpectedOwner,
        Self::PortCaptured,
        Self::PortAnswered,
        Self::NewListener,
        Self::ListenerChanged,
        Self::OutboundUse,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::BindOnDormantPort => "GhostportBindOnDormantPort",
            Self::UnexpectedOwner => "GhostportUnexpectedOwner",
            Self::PortCaptured => "GhostportPortCaptured",
            Self::PortAnswered => "GhostportPortAnswered",
            Self::NewListener => "GhostportNewListener",
            Self::ListenerChanged => "GhostportListenerChanged",
            Self::OutboundUse => "GhostportOutboundUse",
        }
    }

    /// The severity that the rules give it.
    pub(super) const fn severity(self) -> &'static str {
        match self {
            Self::BindOnDormantPort
            | Self::UnexpectedOwner
            | Self::PortCaptured
            | Self::PortAnswered => "critical",
            Self::NewListener | Self::ListenerChanged | Self::OutboundUse => "warning",
        }
    }

    /// The alert that an event raises.
    pub(super) fn of(event: &Event) -> Option<Self> {
        match &event.body {
            EventBody::Awakened(awakened) if awakened.is_alarming() => {
                Some(Self::BindOnDormantPort)
            }
            EventBody::UnexpectedOwner(_) => Some(Self::UnexpectedOwner),
            EventBody::Captured(captured) if captured.is_targeted => Some(Self::PortCaptured),
            EventBody::Answered(_) => Some(Self::PortAnswered),
            EventBody::Connect(_) => Some(Self::OutboundUse),
            EventBody::Listener(listening) => match listening.kind {
                ListenerNews::Unexpected => Some(Self::NewListener),
                ListenerNews::Changed(_) => Some(Self::ListenerChanged),
                ListenerNews::New | ListenerNews::Gone => None,
            },
            _ => None,
        }
    }

    /// Whether it is about a bind, of which there is one alert.
    pub(super) const fn is_about_bind(self) -> bool {
        matches!(self, Self::BindOnDormantPort | Self::UnexpectedOwner)
    }

    /// Value of the label `port`. Changes of listeners have none, as the metric behind them,
    /// `ghostport_listener_changes_total`.
    fn port(self, event: &Event) -> Option<u16> {
        event.port().filter(|_| self != Self::ListenerChanged)
    }

    /// Value of the label `protocol`, which awakenings, changes and states lack, as the metrics behind
    /// them.
    fn protocol(self, event: &Event) -> Option<&'static str> {
        match self {
            Self::BindOnDormantPort | Self::ListenerChanged | Self::OutboundUse => None,
            Self::UnexpectedOwner | Self::PortCaptured | Self::PortAnswered | Self::NewListener => {
                event.socket().and_then(|socket| socket.transport).map(Protocol::name)
            }
        }
    }
}

/// Whether the event raises an alert, or adds to what an alert says.
pub(in crate::sinks) fn is_alarming(event: &Event) -> bool {
    AlertName::of(event).is_some() || matches!(event.body, EventBody::Executable(_))
}

impl Key {
    /// The alert that an event raises.
    pub(super) fn of(event: &Event) -> Option<Self> {
        let name = AlertName::of(event)?;
        Some(Self { name, port: name.port(event), protocol: name.protocol(event) })
    }

    /// What keeps the alert active; `None` if only its last event does.
    pub(super) const fn usage(self) -> Option<Usage> {
        match (self.name, self.port) {
            (AlertName::NewListener, port) => Some(Usage::Listening(port)),
            (AlertName::OutboundUse, Some(port)) => Some(Usage::Sending(port)),
            (AlertName::ListenerChanged, _) | (_, None) => None,
            (_, Some(port)) => Some(Usage::Held(port)),
        }
    }

    /// The alert with these labels; `None` if it is none of this sink's.
    pub(super) fn from_labels(labels: &BTreeMap<String, String>) -> Option<Self> {
        let name = labels.get("alertname")?;
        let name = AlertName::ALL.into_iter().find(|known| known.as_str() == name)?;
        let port = labels.get("port").map(|port| port.parse()).transpose().ok()?;
        let protocol = labels.get("protocol").map(|name| protocol(name).ok_or(()));
        Some(Self { name, port, protocol: protocol.transpose().ok()? })
    }
}

fn protocol(name: &str) -> Option<&'static str> {
    Protocol::ALL.into_iter().map(Protocol::name).find(|known| *known == name)
}

impl Labels {
    /// The configured labels, on a host of this name.
    pub(super) fn new(configured: &BTreeMap<String, String>, host_name: &str) -> Self {
        let (reporter, agent) = REPORTER;
        let mut labels: BTreeMap<String, String> =
            [("instance", host_name), ("job", JOB), (reporter, agent)]
                .into_iter()
                .map(|(label, value)| (label.to_owned(), value.to_owned()))
                .collect();
        labels.extend(configured.clone());
        Self(labels)
    }

    /// The labels of an alert. They identify it and therefore never name a process, which would
    /// make an alert of each process.
    pub(super) fn of(&self, key: Key) -> BTreeMap<String, String> {
        let Key { name, port, protocol } = key;
        let mut labels = self.0.clone();
        labels.insert("alertname".into(), name.as_str().into());
        // A configured severity takes precedence, as every configured label.
        labels.entry("severity".into()).or_insert_with(|| name.severity().into());
        if name == AlertName::BindOnDormantPort {
            labels.insert("cause".into(), Cause::Bind.name().into());
        }
        if name == AlertName::ListenerChanged {
            labels.insert("change".into(), "changed".into());
        }
        labels.extend(port.map(|port| ("port".to_owned(), port.to_string())));
        labels.extend(protocol.map(|protocol| ("protocol".to_owned(), protocol.to_owned())));
        labels
    }

    /// The name by which Prometheus knows this host.
    pub(super) fn instance(&self) -> &str {
        self.0.get("instance").map_or("", String::as_str)
    }

    /// Where Grafana is, if a label says it, as Prometheus' external label of this name does.
    pub(super) fn grafana_url(&self) -> Option<&str> {
        self.0.get("grafana_url").map(|url| url.trim_end_matches('/'))
    }
}
