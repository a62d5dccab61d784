//! What an alert says of its event, so that its receiver can act. Pure.

use super::alert::{AlertName, Annotations, Labels};
use crate::{
    catalogue,
    event::{
        Answered, Awakened, AwakenedBy, CallerFields, Captured, Event, EventBody, ExecutableFound,
        FailedBind, ListenerNews, Listening, Listens, UnexpectedOwner,
    },
    sinks::sentence::{caller, change, dormancy, port, sentence},
};

/// Port of the agent's server where `instance` has none.
const DEFAULT_PORT: u16 = 10948;

/// What identifies a program that binds again, among the annotations.
const PROGRAM: [&str; 4] =
    ["process_executable_path", "process_user", "container_id", "systemd_unit"];

/// The process. Without it the program is not known.
const PID: &str = "process_pid";

/// The result of a bind that was refused.
const REFUSAL: &str = "bind_refused";

/// Annotations that say which alert it is, and not who has caused it.
const OF_THE_ALERT: [&str; 4] = ["dormant_for", "runbook_url", "summary", "time"];

/// The known facts. Names are those of the fields of the event, with underscores.
pub(super) fn annotations(name: AlertName, event: &Event, labels: &Labels) -> Annotations {
    let mut facts = Facts::default();
    facts.add("summary", summary(event));
    facts.add("description", description(event));
    facts.add("certainty", certainty(event));
    facts.add("host_name", event.host_name.clone());
    facts.add("time", event.time.to_string());
    facts.links(name, event, labels);
    facts.port(event);
    match &event.body {
        EventBody::Awakened(awakened) => {
            facts.add_known(REFUSAL, refusal(awakened).map(ToOwned::to_owned));
            facts.add_known("dormant_for", dormancy(awakened));
        }
        EventBody::Captured(captured) => facts.capture(captured),
        EventBody::Answered(Answered { reach, .. }) => {
            facts.add("path", reach.path.name().to_owned());
            facts.add_known("path_target", reach.target.clone());
        }
        EventBody::Listener(listening) => facts.listener(listening),
        EventBody::Connect(connect) => {
            let peer = connect.peer_address.map(|address| address.to_string());
            facts.add_known("network_peer_address", peer);
        }
        _ => {}
    }
    if let Some(caller) = event.caller() {
        facts.process(caller);
    }
    facts.0
}

/// Whether an event is about the same bind, or one alike, as an alert that is active: it names no
/// other program, and is not a bind that was granted after a refusal.
pub(super) fn is_same_story(active: &Annotations, new: &Annotations) -> bool {
    let is_escalation = active.contains_key(REFUSAL) && !new.contains_key(REFUSAL);
    let same_program = PROGRAM.iter().all(|name| active.get(*name) == new.get(*name));
    let names_another = new.contains_key(PID) && !(active.contains_key(PID) && same_program);
    !is_escalation && !names_another
}

/// `new`, with what `old` says of the process if `new` does not know it.
pub(super) fn with_process(mut new: Annotations, old: Annotations) -> Annotations {
    if !new.contains_key(PID) {
        new.extend(old.into_iter().filter(|(name, _)| !OF_THE_ALERT.contains(&name.as_str())));
    }
    new
}

/// The annotations of `new` about the process, for an alert that stays otherwise as it is.
pub(super) fn of_process(new: Annotations) -> impl Iterator<Item = (String, String)> {
    new.into_iter().filter(|(name, _)| name.starts_with("process_"))
}

/// Whether annotations are about the process with this id.
pub(super) fn names(annotations: &Annotations, pid: u32) -> bool {
    annotations.get(PID).is_some_and(|known| *known == pid.to_string())
}

/// What was found out about the executable of a process. Names begin as those about the process do.
pub(super) fn evidence(found: &ExecutableFound) -> Annotations {
    let (file, script) = (&found.facts.file, found.facts.script.as_ref());
    let mut facts = Facts::default();
    facts.add("process_evidence", found.facts.sentence());
    facts.add_known("process_executable_sha256", file.sha256.clone());
    let package = file.package.as_ref();
    facts.add_known("process_package", package.map(|package| package.name.clone()));
    facts.add_known("process_package_version", package.and_then(|package| package.version.clone()));
    facts.add_known("process_script", script.map(|script| script.path.clone()));
    facts.add_known("process_script_sha256", script.and_then(|script| script.sha256.clone()));
    facts.0
}

#[derive(Default)]
struct Facts(Annotations);

impl Facts {
    fn add(&mut self, name: &str, value: String) {
        self.0.insert(name.to_owned(), value);
    }

    fn add_known(&mut self, name: &str, value: Option<String>) {
        self.0.extend(value.map(|value| (name.to_owned(), value)));
    }

    /// The agent's own runbook and page, at the address by which Prometheus scrapes it, and the
    /// dashboard, where a label says where Grafana is.
    fn links(&mut self, name: AlertName, event: &Event, labels: &Labels) {
        let instance = labels.instance();
        let has_port = instance.rsplit_once(':').is_some_and(|(_, port)| {
            !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
        });
        let address =
            if has_port { instance.to_owned() } else { format!("{instance}:{DEFAULT_PORT}") };
        self.add("runbook_url", format!("http://{address}/runbook/{}", name.as_str()));
        self.add("page_url", format!("http://{address}/"));
        let port = event.port().map(|port| format!("&var-port={port}")).unwrap_or_default();
        let dashboard = labels
            .grafana_url()
            .map(|url| format!("{url}/d/ghostport-host?var-instance={instance}{port}"));
        self.add_known("dashboard_url", dashboard);
    }

    fn port(&mut self, event: &Event) {
        let socket = event.socket();
        let address = socket.and_then(|socket| socket.local_address);
        self.add_known("network_local_address", address.map(|address| address.to_string()));
        let service = event.port().and_then(catalogue::lookup);
        self.add_known("service", service.map(|service| service.name.to_owned()));
        let description = service.map(|service| service.description.to_owned());
        self.add_known("service_description", description.filter(|text| !text.is_empty()));
        let look = match event.port() {
            Some(port) => format!(
                "ghostport check {port}; ghostport events --since 1h --port {port}; \
                 ghostport explain {port}"
            ),
            None => "ghostport check; ghostport events --since 1h".to_owned(),
        };
        self.add("commands", look);
    }

    fn capture(&mut self, captured: &Captured) {
        self.add("capture_filter", captured.filter.clone());
        self.add("capture_kind", captured.kind.name().to_owned());
    }

    fn listener(&mut self, listening: &Listening) {
        self.add("scope", listening.scope.name().to_owned());
        if !listening.ports.is_empty() {
            let ports: Vec<String> = listening.ports.iter().map(u16::to_string).collect();
            self.add("ports", ports.join(", "));
        }
        if let ListenerNews::Changed(changes) = &listening.kind {
            self.add("changes", changes.iter().map(change).collect::<Vec<_>>().join(", "));
        }
        if let Listens::Program(program) = &listening.by {
            self.add_known("process_executable_path", program.executable_path.clone());
            self.add_known("systemd_unit", program.systemd_unit.clone());
        }
        self.add("commands", "ghostport check --all; ghostport events --since 1h".to_owned());
    }

    fn process(&mut self, caller: &CallerFields) {
        let identity = &caller.identity;
        let user = identity.user_name.clone().or(caller.user_id.map(|id| id.to_string()));
        let ancestor = |(pid, name): (u32, &str)| format!("{name}[{pid}]");
        let ancestors: Vec<String> =
            identity.ancestors.iter().map(|a| ancestor((a.pid, &a.name))).collect();
        for (name, value) in [
            (PID, Some(caller.pid.to_string())),
            ("process_parent_pid", caller.parent_pid.map(|pid| pid.to_string())),
            ("process_parent", ancestors.first().cloned()),
            ("process_ancestors", (!ancestors.is_empty()).then(|| ancestors.join(" < "))),
            ("process_creation_time", caller.creation_time.map(|time| time.to_string())),
            ("process_executable_name", caller.executable_name.clone()),
            ("process_executable_path", identity.executable_path.clone()),
            ("process_command_line", caller.command_args.as_ref().map(|args| args.join(" "))),
            ("process_user", user),
            ("process_linux_cgroup", identity.cgroup.clone()),
            ("container_id", identity.container_id.clone()),
            ("systemd_unit", identity.systemd_unit.clone()),
        ] {
            self.add_known(name, value);
        }
    }
}

fn summary(event: &Event) -> String {
    let (port, host) = (port(event), &event.host_name);
    match &event.body {
        EventBody::Captured(_) => {
            format!("A socket of {host} takes packets of watched ports and no others")
        }
        EventBody::Listener(listening) => match listening.kind {
            ListenerNews::Changed(_) => {
                format!("Another program, user or unit listens on {port} of {host}, a known one")
            }
            _ => format!("An unexpected program listens on {port} of {host}"),
        },
        EventBody::Connect(_) => format!("{host} talks to {port} elsewhere"),
        EventBody::Answered(_) => {
            format!("Something answers on {port} of {host}, and no socket holds it")
        }
        EventBody::Awakened(awakened) => {
            let dormant = dormancy(awakened).map(|dormancy| format!(", dormant for {dormancy},"));
            let dormant = dormant.unwrap_or_default();
            match refusal(awakened) {
                None => format!("Dormant {port} of {host}{dormant} was bound"),
                Some(why) => {
                    format!("A bind of dormant {port} of {host}{dormant} was refused: {why}")
                }
            }
        }
        _ => format!("An unexpected program bound {port} of {host}"),
    }
}

fn description(event: &Event) -> String {
    match &event.body {
        EventBody::Captured(_)
        | EventBody::Answered(_)
        | EventBody::Listener(_)
        | EventBody::Connect(_) => format!("{}.", sentence(event)),
        EventBody::Awakened(awakened) if refusal(awakened).is_some() => {
            format!("{} tried to bind {}.", caller(event), port(event))
        }
        _ => format!("{} bound {}.", caller(event), port(event)),
    }
}

/// How it is known, and so how sure it is.
fn certainty(event: &Event) -> String {
    match &event.body {
        EventBody::UnexpectedOwner(UnexpectedOwner::FoundOpen { is_passed_on: true, .. }) => {
            "Read from the process's descriptors; another program bound the socket.".into()
        }
        EventBody::UnexpectedOwner(UnexpectedOwner::FoundOpen { .. }) => {
            "The socket was found open; its bind was not seen.".into()
        }
        EventBody::Captured(_) => "Read from the socket's filter.".into(),
        EventBody::Answered(_) => {
            "Answers were counted, and a scan of every network namespace found no socket.".into()
        }
        EventBody::Listener(listening) if listening.process().is_none() => {
            "The socket is there; the process that opened it has ended, or is not visible.".into()
        }
        EventBody::Listener(_) => "The process opened the socket, or was found to hold it.".into(),
        _ => match event.call() {
            Some(call) => {
                format!("Certain: the kernel's call was observed by {}.", call.mechanism.name())
            }
            None => "The kernel counted the bind; the process was not seen.".into(),
        },
    }
}

/// The result of the bind that awakened the port, if it was refused.
fn refusal(awakened: &Awakened) -> Option<&'static str> {
    let AwakenedBy::FailedBind(failed) = &awakened.by else { return None };
    Some(FailedBind::result(failed).name())
}
