//! Elastic Common Schema 9.3, <https://www.elastic.co/docs/reference/ecs>.
//!
//! What the schema has no place for stays under `ghostport`.

use serde_json::{Value, json};

use super::{
    fields::{End, Fields, Level, text_of},
    techniques::Technique,
    tree::Tree,
};

/// The version of the schema.
pub(super) const VERSION: &str = "9.3.0";

/// Fields that have the same value at another place.
const MOVED: [(&str, &str); 22] = [
    ("time", "@timestamp"),
    ("host.name", "host.name"),
    ("network.transport", "network.transport"),
    ("network.type", "network.type"),
    ("ghostport.reason", "event.reason"),
    ("ghostport.first_time", "event.start"),
    ("ghostport.last_time", "event.end"),
    ("process.pid", "process.pid"),
    ("process.parent_pid", "process.parent.pid"),
    ("process.creation.time", "process.start"),
    ("process.executable.name", "process.name"),
    ("process.executable.path", "process.executable"),
    ("process.command_args", "process.args"),
    ("ghostport.executable_sha256", "process.hash.sha256"),
    ("ghostport.package", "package.name"),
    ("ghostport.package_version", "package.version"),
    ("ghostport.package_manager", "package.type"),
    ("thread.id", "process.thread.id"),
    ("thread.name", "process.thread.name"),
    ("service.version", "agent.version"),
    ("k8s.pod.name", "orchestrator.resource.name"),
    ("k8s.namespace.name", "orchestrator.namespace"),
];

/// Fields that are text in the schema, whatever they are here.
const TEXTS: [(&str, &str); 13] = [
    ("process.user.id", "process.user.id"),
    ("process.user.id", "user.id"),
    ("process.user.name", "process.user.name"),
    ("process.user.name", "user.name"),
    ("process.real_user.id", "process.real_user.id"),
    ("process.real_user.name", "process.real_user.name"),
    ("ghostport.real_group_id", "process.real_group.id"),
    ("container.id", "container.id"),
    ("container.name", "container.name"),
    ("container.image.name", "container.image.name"),
    ("container.runtime", "container.runtime"),
    ("k8s.pod.uid", "orchestrator.resource.id"),
    ("ghostport.errno", "error.code"),
];

/// Fields that are placed by rules of their own.
const PLACED: [&str; 11] = [
    "schema",
    "event.name",
    "network.local.address",
    "network.local.port",
    "network.peer.address",
    "network.peer.port",
    "network.interface.name",
    "network.io.direction",
    "ghostport.severity",
    "ghostport.attack_techniques",
    "ghostport.labels",
];

/// Categories and types of a kind: `event.category`, `event.type`.
fn category(kind: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        "bind_failed" => (&["network"], &["denied"]),
        "listen" | "listener_new" => (&["network"], &["start"]),
        "close" | "listener_gone" => (&["network"], &["end"]),
        "answered" | "connect" => (&["network"], &["connection"]),
        "captured" => (&["network"], &["access"]),
        "identified" => (&["network"], &["connection", "protocol"]),
        "awakened" | "unexpected_owner" | "listener_unexpected" => {
            (&["intrusion_detection", "network"], &["info"])
        }
        "agent_started" => (&["process"], &["start"]),
        "agent_stopped" => (&["process"], &["end"]),
        "executable" => (&["process"], &["info"]),
        "hook_changed" => (&["configuration"], &["change"]),
        "selftest" => (&["host"], &["info"]),
        _ => (&["network"], &["info"]),
    }
}

/// Encodes an event.
pub(super) fn encode(fields: &Fields<'_>, message: Option<&str>) -> String {
    let mut tree = Tree::default();
    for (from, to) in MOVED {
        tree.set(to, fields.get(from).cloned());
    }
    tree.set("ecs.version", Some(VERSION));
    tree.set("message", message);
    classify(&mut tree, fields);
    tree.set("observer.vendor", Some("ghostport"));
    tree.set("observer.product", Some("ghostport"));
    tree.set("observer.type", Some("sensor"));
    tree.set("host.hostname", fields.text("host.name"));
    network(&mut tree, fields);
    for (from, to) in TEXTS {
        tree.set(to, fields.get(from).map(text_of));
    }
    if fields.all().any(|(name, _)| name.starts_with("k8s.")) {
        tree.set("orchestrator.type", Some("kubernetes"));
        tree.set("orchestrator.resource.type", Some("pod"));
    }
    threat(&mut tree, fields);
    tree.set("labels", fields.get("ghostport.labels").cloned());
    rest(&mut tree, fields);
    tree.into_json()
}

fn classify(tree: &mut Tree, fields: &Fields<'_>) {
    let (severity, kind) = match fields.level() {
        Level::Info => (1, "event"),
        Level::Warning => (2, "alert"),
        Level::Critical => (3, "alert"),
    };
    let (category, types) = category(fields.kind_within());
    tree.set("event.kind", Some(kind));
    tree.set("event.category", Some(json!(category)));
    tree.set("event.type", Some(json!(types)));
    tree.set("event.action", Some(fields.kind()));
    tree.set("event.severity", Some(severity));
    tree.set("event.module", Some("ghostport"));
    tree.set("event.dataset", Some("ghostport.event"));
    tree.set("log.level", fields.text("ghostport.severity"));
    let outcome = fields.text("ghostport.result").map(|result| match result {
        "success" => "success",
        _ => "failure",
    });
    tree.set("event.outcome", outcome);
}

fn network(tree: &mut Tree, fields: &Fields<'_>) {
    let direction = fields.text("network.io.direction").map(|direction| match direction {
        "transmit" => "egress",
        _ => "ingress",
    });
    tree.set("network.direction", direction);
    let side = direction.unwrap_or("ingress");
    let interface = fields.text("network.interface.name");
    tree.set(&format!("observer.{side}.interface.name"), interface);
    if fields.text("ghostport.grade") != Some("suspect") {
        let verdict = fields.text("ghostport.verdict");
        tree.set("network.protocol", verdict.filter(|verdict| !is_no_protocol(verdict)));
    }
    match fields.ends() {
        Some((from, to)) => {
            end(tree, "source", from);
            end(tree, "destination", to);
        }
        None => {
            end(tree, "server", fields.local());
            end(tree, "destination", fields.peer());
        }
    }
}

/// Verdicts that name no protocol.
fn is_no_protocol(verdict: &str) -> bool {
    verdict.starts_with("scan-") || matches!(verdict, "empty" | "unknown" | "text" | "shell")
}

fn end(tree: &mut Tree, name: &str, end: End<'_>) {
    tree.set(&format!("{name}.address"), end.address);
    tree.set(&format!("{name}.ip"), end.address);
    tree.set(&format!("{name}.port"), end.port);
}

fn threat(tree: &mut Tree, fields: &Fields<'_>) {
    let named = fields.texts("ghostport.attack_techniques");
    let techniques: Vec<Technique> = named.into_iter().filter_map(Technique::by_id).collect();
    if techniques.is_empty() {
        return;
    }
    let list = |of: &dyn Fn(Technique) -> Option<String>| -> Option<Value> {
        let values: Vec<String> =
            techniques.iter().filter_map(|technique| of(*technique)).collect();
        (!values.is_empty()).then(|| json!(values))
    };
    let whole = |technique: Technique| technique.parent().unwrap_or(technique);
    let part = |technique: Technique| technique.parent().map(|_| technique);
    tree.set("threat.framework", Some("MITRE ATT&CK"));
    tree.set("threat.tactic.id", list(&|of| Some(of.tactic.id.into())));
    tree.set("threat.tactic.name", list(&|of| Some(of.tactic.name.into())));
    tree.set("threat.technique.id", list(&|of| Some(whole(of).id.into())));
    tree.set("threat.technique.name", list(&|of| Some(whole(of).name.into())));
    tree.set("threat.technique.reference", list(&|of| Some(whole(of).page())));
    let sub = "threat.technique.subtechnique";
    tree.set(&format!("{sub}.id"), list(&|of| Some(part(of)?.id.into())));
    tree.set(&format!("{sub}.name"), list(&|of| Some(part(of)?.name.into())));
    tree.set(&format!("{sub}.reference"), list(&|of| Some(part(of)?.page())));
}

/// Everything else, below `ghostport`.
fn rest(tree: &mut Tree, fields: &Fields<'_>) {
    let has_place = |name: &str| {
        let is_it = |(from, _): &(&str, &str)| *from == name;
        MOVED.iter().any(is_it) || TEXTS.iter().any(is_it) || PLACED.contains(&name)
    };
    for (name, value) in fields.all().filter(|(name, _)| !has_place(name)) {
        let name = name.strip_prefix("ghostport.").unwrap_or(name);
        tree.set(&format!("ghostport.{name}"), Some(value.clone()));
    }
}
