//! Open Cybersecurity Schema Framework 1.6, <https://schema.ocsf.io/1.6.0>.
//!
//! An event is of one of three classes: *Network Activity*, *Detection Finding* for what alerts, and
//! *Application Lifecycle* for the agent's own. What has no place in them stays under `unmapped`.

use monitor_common::flow::Protocol;
use serde_json::{Map, Value, json};

use super::{
    fields::{End, Fields, Level, text_of},
    techniques::Technique,
    tree::Tree,
};

/// The version of the schema.
pub(super) const VERSION: &str = "1.6.0";

/// A class with one of its activities.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    NetworkActivity(u64),
    DetectionFinding,
    ApplicationLifecycle(u64),
}

/// Activities of *Network Activity*.
const OPEN: u64 = 1;
const CLOSE: u64 = 2;
const FAIL: u64 = 4;
const TRAFFIC: u64 = 6;
const LISTEN: u64 = 7;

/// Activities of *Application Lifecycle*.
const START: u64 = 3;
const STOP: u64 = 4;
const UPDATE: u64 = 8;

/// The activity that the schema has no number for.
const OTHER: u64 = 99;

/// Fields that every class has a place for.
const PLACED: [&str; 11] = [
    "schema",
    "time",
    "event.name",
    "host.name",
    "ghostport.severity",
    "ghostport.errno",
    "ghostport.reason",
    "ghostport.count",
    "ghostport.first_time",
    "ghostport.last_time",
    "ghostport.labels",
];

/// Those that have a place if there is a process.
const OF_PROCESS: [&str; 12] = [
    "process.pid",
    "process.parent_pid",
    "process.creation.time",
    "process.executable.name",
    "process.executable.path",
    "process.command_args",
    "process.user.id",
    "process.user.name",
    "container.id",
    "container.name",
    "container.runtime",
    "container.image.name",
];

/// Those that have a place if the path of the executable is known as well.
const OF_FILE: [&str; 2] = ["ghostport.executable_deleted", "ghostport.executable_sha256"];

/// Those that have a place in all classes but *Application Lifecycle*.
const OF_NETWORK: [&str; 7] = [
    "network.transport",
    "network.type",
    "network.local.address",
    "network.local.port",
    "network.peer.address",
    "network.peer.port",
    "ghostport.attack_techniques",
];

/// Those that only *Network Activity* has a place for.
const OF_TRAFFIC: [&str; 1] = ["ghostport.payload_size"];

impl Class {
    fn of(fields: &Fields<'_>) -> Self {
        match fields.kind_within() {
            "agent_started" => Self::ApplicationLifecycle(START),
            "agent_stopped" => Self::ApplicationLifecycle(STOP),
            "hook_changed" => Self::ApplicationLifecycle(UPDATE),
            "selftest" => Self::ApplicationLifecycle(OTHER),
            "awakened" | "unexpected_owner" | "captured" | "listener_unexpected" | "executable" => {
                Self::DetectionFinding
            }
            "answered" | "listener_changed" if fields.level() != Level::Info => {
                Self::DetectionFinding
            }
            "bind" | "listen" | "listener_new" => Self::NetworkActivity(LISTEN),
            "bind_failed" => Self::NetworkActivity(FAIL),
            "close" | "listener_gone" => Self::NetworkActivity(CLOSE),
            "connect" => Self::NetworkActivity(OPEN),
            "identified" | "answered" => Self::NetworkActivity(TRAFFIC),
            _ => Self::NetworkActivity(OTHER),
        }
    }

    /// Category, class and activity.
    const fn numbers(self) -> (u64, u64, u64) {
        match self {
            Self::NetworkActivity(activity) => (4, 4001, activity),
            Self::DetectionFinding => (2, 2004, 1),
            Self::ApplicationLifecycle(activity) => (6, 6002, activity),
        }
    }
}

/// Encodes an event.
pub(super) fn encode(fields: &Fields<'_>, message: Option<&str>) -> String {
    let class = Class::of(fields);
    let mut tree = Tree::default();
    classify(&mut tree, fields, class);
    tree.set("message", message);
    tree.set("metadata.version", Some(VERSION));
    tree.set("metadata.product", Some(product(fields)));
    tree.set("metadata.event_code", Some(fields.kind()));
    tree.set("metadata.log_name", Some("ghostport.event"));
    tree.set("metadata.profiles", Some(json!(["host", "container", "security_control"])));
    tree.set("metadata.labels", labels(fields));
    tree.set("device.type_id", Some(1));
    tree.set("device.hostname", fields.text("host.name"));
    tree.set("count", fields.number("ghostport.count"));
    tree.set("start_time", fields.milliseconds("ghostport.first_time"));
    tree.set("end_time", fields.milliseconds("ghostport.last_time"));
    tree.set("actor.process", process(fields));
    match class {
        Class::NetworkActivity(_) => {
            network(&mut tree, fields);
            tree.set("attacks", attacks(fields));
        }
        Class::DetectionFinding => finding(&mut tree, fields),
        Class::ApplicationLifecycle(_) => tree.set("app", Some(product(fields))),
    }
    tree.set("unmapped", unmapped(fields, class));
    tree.into_json()
}

/// What has no place in the class.
fn unmapped(fields: &Fields<'_>, class: Class) -> Option<Value> {
    let has_process = fields.number("process.pid").is_some();
    let has_file = has_process && fields.text("process.executable.path").is_some();
    let has_network = !matches!(class, Class::ApplicationLifecycle(_));
    let has_traffic = matches!(class, Class::NetworkActivity(_));
    let is_placed = |name: &str| {
        PLACED.contains(&name)
            || (has_process && OF_PROCESS.contains(&name))
            || (has_file && OF_FILE.contains(&name))
            || (has_network && OF_NETWORK.contains(&name))
            || (has_traffic && OF_TRAFFIC.contains(&name))
            || (name == "service.version" && !has_network)
    };
    let rest = fields.all().filter(|(name, _)| !is_placed(name));
    let rest: Map<String, Value> =
        rest.map(|(name, value)| (name.to_owned(), value.clone())).collect();
    (!rest.is_empty()).then(|| rest.into())
}

fn classify(tree: &mut Tree, fields: &Fields<'_>, class: Class) {
    let (category, number, activity) = class.numbers();
    let (severity_id, severity) = match fields.level() {
        Level::Info => (1, "Informational"),
        Level::Warning => (3, "Medium"),
        Level::Critical => (5, "Critical"),
    };
    tree.set("category_uid", Some(category));
    tree.set("class_uid", Some(number));
    tree.set("activity_id", Some(activity));
    if activity == OTHER {
        tree.set("activity_name", Some(fields.kind()));
    }
    tree.set("type_uid", Some(number * 100 + activity));
    tree.set("time", fields.milliseconds("time"));
    tree.set("severity_id", Some(severity_id));
    tree.set("severity", Some(severity));
    tree.set("is_alert", (fields.level() != Level::Info).then_some(true));
    // A finding has states of its own.
    if class == Class::DetectionFinding {
        tree.set("status_id", Some(1));
    } else {
        let status = fields.text("ghostport.result").map(|result| match result {
            "success" => 1,
            _ => 2,
        });
        tree.set("status_id", status);
    }
    tree.set("status_code", fields.get("ghostport.errno").map(text_of));
    tree.set("status_detail", fields.text("ghostport.reason"));
}

fn product(fields: &Fields<'_>) -> Value {
    let mut product = json!({"name": "ghostport", "vendor_name": "ghostport"});
    if let Some(version) = fields.text("service.version") {
        product["version"] = version.into();
    }
    product
}

/// Labels as `name: value`.
fn labels(fields: &Fields<'_>) -> Option<Value> {
    let labels = fields.get("ghostport.labels")?.as_object()?;
    let label = |(name, value): (&String, &Value)| {
        format!("{name}: {}", value.as_str().unwrap_or_default())
    };
    Some(labels.iter().map(label).collect::<Vec<String>>().into())
}

fn process(fields: &Fields<'_>) -> Option<Value> {
    let mut tree = Tree::default();
    tree.set("pid", fields.number("process.pid"));
    tree.set("name", fields.text("process.executable.name"));
    let arguments = fields.texts("process.command_args");
    tree.set("cmd_line", (!arguments.is_empty()).then(|| arguments.join(" ")));
    tree.set("created_time", fields.milliseconds("process.creation.time"));
    tree.set("user.uid", fields.number("process.user.id").map(|id| id.to_string()));
    tree.set("user.name", fields.text("process.user.name"));
    let path = fields.text("process.executable.path");
    tree.set("file", path.map(|path| file(path, fields)));
    tree.set("path", path);
    tree.set("parent_process.pid", fields.number("process.parent_pid"));
    tree.set("container", container(fields));
    let process = tree.into_value()?;
    // The schema asks for a number of the process: what has none is no process.
    process.get("pid").is_some().then_some(process)
}

fn file(path: &str, fields: &Fields<'_>) -> Value {
    let mut file = json!({
        "name": path.rsplit('/').next().unwrap_or(path),
        "path": path,
        // A regular file.
        "type_id": 1,
    });
    if let Some(is_deleted) = fields.get("ghostport.executable_deleted") {
        file["is_deleted"] = is_deleted.clone();
    }
    if let Some(sha256) = fields.text("ghostport.executable_sha256") {
        file["hashes"] = json!([{"algorithm_id": 3, "algorithm": "SHA-256", "value": sha256}]);
    }
    file
}

fn container(fields: &Fields<'_>) -> Option<Value> {
    let mut tree = Tree::default();
    tree.set("uid", fields.text("container.id"));
    tree.set("name", fields.text("container.name"));
    tree.set("runtime", fields.text("container.runtime"));
    let image = fields.text("container.image.name");
    tree.set("image", image.map(|name| json!({"name": name, "uid": name})));
    tree.set("pod_uuid", fields.text("k8s.pod.uid"));
    let container = tree.into_value()?;
    (container.get("uid").is_some() || container.get("name").is_some()).then_some(container)
}

/// Ends, protocol and size.
fn network(tree: &mut Tree, fields: &Fields<'_>) {
    let (from, to) = fields.source_and_destination();
    tree.set("src_endpoint", endpoint(from, None));
    tree.set("dst_endpoint", endpoint(to, fields.text("ghostport.service")));
    tree.set("connection_info", connection(fields));
    let bytes =
        fields.number("ghostport.bytes").or_else(|| fields.number("ghostport.payload_size"));
    tree.set("traffic.bytes", bytes);
}

/// An end that is known. The schema asks for an address or a name.
fn endpoint(end: End<'_>, service: Option<&str>) -> Option<Value> {
    let mut tree = Tree::default();
    tree.set("ip", end.address);
    tree.set("port", end.port);
    tree.set("hostname", end.host);
    tree.set("svc_name", service);
    end.is_known().then(|| tree.into_value()).flatten()
}

fn connection(fields: &Fields<'_>) -> Option<Value> {
    let transport = fields.text("network.transport")?;
    let direction = match (fields.text("network.io.direction"), fields.kind_within()) {
        (Some("transmit"), _) | (None, "connect") => 2,
        (Some(_), _) | (None, "answered") => 1,
        _ => 0,
    };
    let mut tree = Tree::default();
    tree.set("direction_id", Some(direction));
    tree.set("protocol_name", Some(transport));
    let number = Protocol::ALL.into_iter().find(|protocol| protocol.name() == transport);
    tree.set("protocol_num", number.map(Protocol::ip_number));
    let version = fields.text("network.type").map(|family| if family == "ipv6" { 6 } else { 4 });
    tree.set("protocol_ver_id", version);
    tree.into_value()
}

fn finding(tree: &mut Tree, fields: &Fields<'_>) {
    let title = fields.title();
    // The same finding has the same number, so that a receiver can put events together.
    let place = [fields.text("host.name"), Some(&title)].into_iter().flatten();
    let uid = place.collect::<Vec<&str>>().join(" ");
    tree.set("finding_info.uid", Some(uid));
    tree.set("finding_info.title", Some(title));
    tree.set("finding_info.desc", fields.text("ghostport.reason"));
    tree.set("finding_info.types", Some(json!([fields.kind()])));
    tree.set("finding_info.first_seen_time", fields.milliseconds("ghostport.first_time"));
    tree.set("finding_info.last_seen_time", fields.milliseconds("ghostport.last_time"));
    tree.set("finding_info.attacks", attacks(fields));
    let mut evidence = Tree::default();
    network(&mut evidence, fields);
    // Sizes have no place in evidence.
    let evidence = evidence.into_value().map(|mut evidence| {
        if let Some(evidence) = evidence.as_object_mut() {
            evidence.remove("traffic");
        }
        evidence
    });
    let evidence =
        evidence.filter(|evidence| evidence.as_object().is_some_and(|all| !all.is_empty()));
    tree.set("evidences", evidence.map(|evidence| json!([evidence])));
}

fn attacks(fields: &Fields<'_>) -> Option<Value> {
    let named = fields.texts("ghostport.attack_techniques");
    let attacks: Vec<Value> = named.into_iter().filter_map(Technique::by_id).map(attack).collect();
    (!attacks.is_empty()).then(|| attacks.into())
}

fn attack(technique: Technique) -> Value {
    let entry = |of: Technique| json!({"uid": of.id, "name": of.name, "src_url": of.page()});
    let tactic = json!({"uid": technique.tactic.id, "name": technique.tactic.name});
    match technique.parent() {
        Some(parent) => {
            json!({"tactic": tactic, "technique": entry(parent), "sub_technique": entry(technique)})
        }
        None => json!({"tactic": tactic, "technique": entry(technique)}),
    }
}
