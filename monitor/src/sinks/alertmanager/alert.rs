//! An event as an alert. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use monitor_common::flow::Protocol;
use serde::Serialize;

use crate::{
    event::{Answered, AwakenedBy, CallerFields, Captured, Event, EventBody},
    sinks::sentence::{caller, dormancy, port, sentence},
    sockets::Reach,
};
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
}

/// The page with a section about each alert. The anchor is the name in lower case.
const RUNBOOK: &str = "https://github.com/ghostport/ghostport/blob/main/docs/runbook.md";

/// Severity of every alert, as in the rules.
const SEVERITY: &str = "critical";

/// Job of the scrape configuration in dashboards/prometheus/scrape.yaml.
const JOB: &str = "ghostport";

/// Labels that the configuration adds to every alert.
#[derive(Clone, Debug)]
pub(super) struct Labels(BTreeMap<String, String>);

/// An alert of Alertmanager's API: `postableAlert` of version 2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alert {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<&'static str, String>,
    pub(super) starts_at: Timestamp,
    pub(super) ends_at: Timestamp,
}

impl AlertName {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::BindOnDormantPort => "GhostportBindOnDormantPort",
            Self::UnexpectedOwner => "GhostportUnexpectedOwner",
            Self::PortCaptured => "GhostportPortCaptured",
            Self::PortAnswered => "GhostportPortAnswered",
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
            _ => None,
        }
    }

    /// Value of the label `protocol`. An awakening has none, as the metric behind it,
    /// `ghostport_awakenings_total`.
    pub(super) fn protocol(self, event: &Event) -> Option<&'static str> {
        match self {
            Self::BindOnDormantPort => None,
            Self::UnexpectedOwner | Self::PortCaptured | Self::PortAnswered => {
                event.socket().and_then(|socket| socket.transport).map(Protocol::name)
            }
        }
    }
}

/// Whether the event raises an alert.
pub(in crate::sinks) fn is_alarming(event: &Event) -> bool {
    AlertName::of(event).is_some()
}

impl Labels {
    pub(super) fn new(configured: &BTreeMap<String, String>) -> Self {
        Self(configured.clone())
    }

    /// The labels of an alert. They identify it and therefore never name a process, which would
    /// make an alert of each process.
    pub(super) fn of(&self, name: AlertName, event: &Event) -> BTreeMap<String, String> {
        let mut labels: BTreeMap<String, String> =
            [("instance", event.host_name.as_str()), ("job", JOB), ("severity", SEVERITY)]
                .into_iter()
                .map(|(label, value)| (label.to_owned(), value.to_owned()))
                .collect();
        labels.extend(self.0.clone());
        labels.insert("alertname".into(), name.as_str().into());
        if name == AlertName::BindOnDormantPort {
            labels.insert("cause".into(), Cause::Bind.name().into());
        }
        let port = event.port();
        labels.extend(port.map(|port| ("port".to_owned(), port.to_string())));
        let protocol = name.protocol(event);
        labels.extend(protocol.map(|protocol| ("protocol".to_owned(), protocol.to_owned())));
        labels
    }
}

/// The known facts. Names are those of the fields of the event, with underscores.
pub(super) fn annotations(name: AlertName, event: &Event) -> BTreeMap<&'static str, String> {
    match &event.body {
        EventBody::Captured(captured) => return captured_annotations(captured, event),
        EventBody::Answered(answered) => return answered_annotations(answered, event),
        _ => {}
    }
    let (port, host) = (port(event), &event.host_name);
    let dormant = dormant_for(event).map(|dormancy| format!(", dormant for {dormancy},"));
    let dormant = dormant.unwrap_or_default();
    let summary = match (name, refusal(event)) {
        (AlertName::UnexpectedOwner, _) => format!("An unexpected program bound {port} of {host}"),
        (_, None) => format!("Dormant {port} of {host}{dormant} was bound"),
        (_, Some(why)) => format!("A bind of dormant {port} of {host}{dormant} was refused: {why}"),
    };
    let did = if refusal(event).is_some() { "tried to bind" } else { "bound" };
    let description = format!("{} {did} {port}.", caller(event));
    let mut annotations = common(name, event, description, summary);
    let address = event.socket().and_then(|socket| socket.local_address);
    let address = address.map(|address| address.to_string());
    annotations.extend(address.map(|address| ("network_local_address", address)));
    annotations
}

fn captured_annotations(captured: &Captured, event: &Event) -> BTreeMap<&'static str, String> {
    let host = &event.host_name;
    let summary = format!("A socket of {host} takes packets of watched ports and no others");
    let description = format!("{}.", sentence(event));
    let mut annotations = common(AlertName::PortCaptured, event, description, summary);
    annotations.insert("capture_filter", captured.filter.clone());
    annotations.insert("capture_kind", captured.kind.name().to_owned());
    annotations
}

fn answered_annotations(answered: &Answered, event: &Event) -> BTreeMap<&'static str, String> {
    let (port, host) = (port(event), &event.host_name);
    let summary = format!("Something answers on {port} of {host}, and no socket holds it");
    let description = format!("{}.", sentence(event));
    let mut annotations = common(AlertName::PortAnswered, event, description, summary);
    let Reach { path, target } = &answered.reach;
    annotations.insert("path", path.name().to_owned());
    annotations.extend(target.clone().map(|target| ("path_target", target)));
    annotations
}

fn common(
    name: AlertName,
    event: &Event,
    description: String,
    summary: String,
) -> BTreeMap<&'static str, String> {
    let mut annotations = BTreeMap::from([
        ("description", description),
        ("runbook_url", format!("{RUNBOOK}#{}", name.as_str().to_ascii_lowercase())),
        ("summary", summary),
        ("time", event.time.to_string()),
    ]);
    annotations.extend(event.caller().into_iter().flat_map(process));
    annotations
}

/// The result of the bind that awakened the port, if it was refused.
fn refusal(event: &Event) -> Option<&'static str> {
    let EventBody::Awakened(awakened) = &event.body else { return None };
    let AwakenedBy::FailedBind(failed) = &awakened.by else { return None };
    Some(failed.result().name())
}

fn dormant_for(event: &Event) -> Option<String> {
    let EventBody::Awakened(awakened) = &event.body else { return None };
    dormancy(awakened)
}

fn process(caller: &CallerFields) -> impl Iterator<Item = (&'static str, String)> + use<> {
    let identity = &caller.identity;
    let user = identity.user_name.clone().or(caller.user_id.map(|id| id.to_string()));
    [
        ("process_pid", Some(caller.pid.to_string())),
        ("process_parent_pid", caller.parent_pid.map(|pid| pid.to_string())),
        ("process_executable_name", caller.executable_name.clone()),
        ("process_executable_path", identity.executable_path.clone()),
        ("process_command_line", caller.command_args.as_ref().map(|args| args.join(" "))),
        ("process_user", user),
        ("process_linux_cgroup", identity.cgroup.clone()),
        ("container_id", identity.container_id.clone()),
        ("systemd_unit", identity.systemd_unit.clone()),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
}
