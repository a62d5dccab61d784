//! What the kinds of events are, and what their fields mean: the source of docs/reference/events.md.
//! A test compares it with the golden file, which has every field of every kind.

use super::name::EventName::{
    self, AgentStarted, AgentStopped, Answered, Awakened, Bind, BindFailed, Captured, Close,
    Connect, Dormant, Executable, HookChanged, Identified, Listen, ListenerChanged, ListenerGone,
    ListenerNew, ListenerUnexpected, Selftest, Summary, UnexpectedOwner,
};

/// A field of events.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in the JSON object.
    pub name: &'static str,
    /// Its JSON type, and its unit or format.
    pub value: &'static str,
    /// The kinds of events that may have it.
    pub kinds: &'static [EventName],
    /// What it is, in Markdown.
    pub help: &'static str,
}

/// When an event of a kind is raised, in Markdown.
pub const fn meaning(name: EventName) -> &'static str {
    match name {
        Bind => "A socket was bound to a watched port.",
        BindFailed => "The kernel refused a bind to a watched port.",
        Listen => "A TCP socket on a watched port began to listen.",
        Close => "A socket that was bound to a watched port was closed.",
        Awakened => {
            "The first bind or packet on a dormant port. One that a bind caused has the fields of \
             the call."
        }
        Answered => {
            "Packets were answered from a port that no socket of this host holds: by a redirection, a \
             load balancer, a transparent proxy or another program. Once for as long as the answers \
             go on."
        }
        Captured => {
            "A packet, raw or AF_XDP socket takes packets of a watched port, or may take them. Once for \
             each socket and filter. It matters most where the filter accepts only such packets."
        }
        Dormant => "A port was quiet for its `dormant_after`.",
        Identified => {
            "A payload, or a connection attempt that no payload followed, was identified."
        }
        UnexpectedOwner => "A process that `expect` does not name bound a port, or holds it.",
        AgentStarted => "The agent started. It lists every hook.",
        AgentStopped => "The agent is stopping.",
        HookChanged => {
            "A hook was lost while the agent runs, attached again or by another mechanism, or cannot be \
             attached to an interface that appeared. Hooks of the start are in `agent_started`; interfaces \
             that come and go make no event."
        }
        Connect => {
            "A process sends to a watched port of another host: the first connection or datagram of a \
             process to an address, and again after five minutes without one. It is reported before the \
             kernel decides, so that the call may have failed."
        }
        Executable => {
            "What was found out about the file that a process executes: once for each process and file, \
             soon after the first event that was emitted of the process. No event waits for it."
        }
        ListenerNew => {
            "A socket listens on a port of this host, watched or not, where the baseline has none."
        }
        ListenerChanged => {
            "A socket listens where the baseline has another program, user, unit, container or scope: \
             `ghostport.changes` says which."
        }
        ListenerGone => {
            "A listener of the baseline, or one that was reported, has not been open for five minutes, \
             or for twice as long as ever before."
        }
        ListenerUnexpected => {
            "A socket listens that neither the baseline nor `listeners.expect` has."
        }
        Selftest => {
            "A selftest of the agent ended. What it did is counted for no port, raises no other event \
             and awakens nothing."
        }
        Summary => {
            "Events alike that were not emitted one by one: `ghostport.summary_of` says of which kind, \
             `ghostport.count` how many. It has the fields that they have in common; those of the \
             process, the thread and the error are of the last one."
        }
    }
}

const SOCKETS: &[EventName] = &[
    Bind,
    BindFailed,
    Listen,
    Close,
    Awakened,
    Identified,
    UnexpectedOwner,
    Summary,
    Selftest,
    Executable,
    ListenerNew,
    ListenerChanged,
    ListenerUnexpected,
];
const TRANSPORTS: &[EventName] = &[
    Bind,
    BindFailed,
    Listen,
    Close,
    Awakened,
    Answered,
    Captured,
    Identified,
    UnexpectedOwner,
    Summary,
    Selftest,
    Connect,
    Executable,
    ListenerNew,
    ListenerChanged,
    ListenerGone,
    ListenerUnexpected,
];
const PORTS: &[EventName] = &[
    Bind,
    BindFailed,
    Listen,
    Close,
    Awakened,
    Dormant,
    Answered,
    Identified,
    UnexpectedOwner,
    Summary,
    Selftest,
    Executable,
    ListenerNew,
    ListenerChanged,
    ListenerGone,
    ListenerUnexpected,
];
const SERVICES: &[EventName] = &[
    Bind,
    BindFailed,
    Listen,
    Close,
    Awakened,
    Dormant,
    Answered,
    Captured,
    Identified,
    UnexpectedOwner,
    Summary,
    Selftest,
    Connect,
    Executable,
    ListenerNew,
    ListenerChanged,
    ListenerGone,
    ListenerUnexpected,
];
const CALLS: &[EventName] = &[
    Bind,
    BindFailed,
    Listen,
    Close,
    Awakened,
    UnexpectedOwner,
    Summary,
    ListenerNew,
    ListenerChanged,
    ListenerGone,
    ListenerUnexpected,
];
const INTERFACES: &[EventName] = &[
    Bind,
    BindFailed,
    Listen,
    Close,
    Awakened,
    Identified,
    UnexpectedOwner,
    HookChanged,
    Summary,
    ListenerNew,
    ListenerChanged,
    ListenerUnexpected,
];
const TYPES: &[EventName] = &[
    Bind,
    BindFailed,
    Listen,
    Close,
    Awakened,
    Identified,
    UnexpectedOwner,
    Summary,
    Selftest,
    Connect,
    Executable,
    ListenerNew,
    ListenerChanged,
    ListenerUnexpected,
];
const THREADS: &[EventName] =
    &[Bind, BindFailed, Listen, Close, Awakened, UnexpectedOwner, Summary, Selftest, Connect];
const PEERS: &[EventName] = &[Identified, Summary, Connect, Awakened];
const RESULTS: &[EventName] =
    &[Bind, BindFailed, Listen, Close, Awakened, UnexpectedOwner, Summary, Selftest];
/// Events about a socket that is open, or was.
const OPEN_SOCKETS: &[EventName] = &[
    Bind,
    BindFailed,
    Listen,
    Close,
    Awakened,
    UnexpectedOwner,
    Summary,
    Selftest,
    ListenerNew,
    ListenerChanged,
    ListenerUnexpected,
];
/// Events that may stand for several.
const SUMS: &[EventName] = &[
    Bind,
    BindFailed,
    Listen,
    Close,
    UnexpectedOwner,
    Summary,
    Connect,
    ListenerNew,
    ListenerChanged,
    ListenerGone,
    ListenerUnexpected,
];
const CONVERSATIONS: &[EventName] = &[Identified, Summary];
const PROCESSES: &[EventName] = &[
    Bind,
    BindFailed,
    Listen,
    Close,
    Awakened,
    Captured,
    UnexpectedOwner,
    Summary,
    Selftest,
    Connect,
    Executable,
    ListenerNew,
    ListenerChanged,
    ListenerGone,
    ListenerUnexpected,
];

const EXECUTABLES: &[EventName] = &[Executable];

macro_rules! fields {
    ($($name:literal: $value:literal $kinds:expr, $help:literal;)+) => {
        /// Every field, in the order in which events have them.
        pub const FIELDS: &[Field] =
            &[$(Field { name: $name, value: $value, kinds: $kinds, help: $help }),+];
    };
}

fields! {
    "schema": "string" &EventName::ALL, "`ghostport.event/1`.";
    "time": "RFC 3339, ns, UTC" &EventName::ALL, "When it happened.";
    "event.name": "string" &EventName::ALL, "`ghostport.` and the kind.";
    "host.name": "string" &EventName::ALL, "The name of the host.";
    "ghostport.severity": "`info`, `warning`, `critical`" &EventName::ALL, "How much it matters: `critical` is what the alert rules page about, `warning` a refused bind of an unexpected process, a process that sends to the port of another host, an unexpected or changed listener, or a hook that is lost.";
    "ghostport.attack_techniques": "list of strings" &[Awakened, Answered, Captured, Connect, Identified, UnexpectedOwner, Summary], "Techniques of [MITRE ATT&CK](https://attack.mitre.org) that it may be a sign of: `T1571` of an unexpected owner, an awakening that alerts and a process that sends to such a port elsewhere, `T1205` and `T1205.002` of what takes packets without a socket on the port, `T1046` of a scan, `T1021` and its parts of remote services.";
    "network.transport": "`tcp`, `udp`, `sctp`, `udplite`" TRANSPORTS, "The protocol.";
    "network.type": "`ipv4`, `ipv6`" TYPES, "The address family of the socket; a dual-stack socket has `ipv6`. Of a connect, that of the peer's address.";
    "network.local.address": "string" SOCKETS, "The local address.";
    "network.local.port": "number" PORTS, "The local port.";
    "network.peer.address": "string" PEERS, "The address of the peer; of a summary, if there was one only; of a connect that stands for several, the first; of an awakening by a packet, its sender, where a sample says who that was.";
    "network.peer.port": "number" &[Identified, Connect, Awakened, Summary], "The port of the peer.";
    "network.io.direction": "`receive`, `transmit`" CONVERSATIONS, "The direction of the payload.";
    "network.interface.name": "string" INTERFACES, "The interface; of a socket, the one that it is bound to (`SO_BINDTODEVICE`, or the zone of a link-local address), if it is one of the agent's network namespace.";
    "ghostport.ipv6_only": "boolean" OPEN_SOCKETS, "Whether a socket of IPv6 accepts no IPv4.";
    "ghostport.kernel_socket": "boolean" OPEN_SOCKETS, "`true` for a socket that the kernel made for itself, as for VXLAN or WireGuard. No process is named: the one that configured it does not hold it.";
    "ghostport.port": "number" &[Captured, Identified, Summary, Connect, Executable, Awakened], "The watched port, which is the peer's if this host is the client.";
    "ghostport.ports": "list of numbers" &[Captured, ListenerNew, ListenerChanged, ListenerGone, ListenerUnexpected], "The ports, where they are several: the first 64.";
    "ghostport.scope": "`host`, `world`" &[ListenerNew, ListenerChanged, ListenerGone, ListenerUnexpected], "From where the listener can be reached: from this host alone, or from elsewhere.";
    "ghostport.changes": "list of objects" &[ListenerChanged], "What differs from the listener that the baseline has: `field` (`executable`, `unit`, `user`, `container`, `scope`), `from`, `to`.";
    "ghostport.filter": "string" &[Captured], "What the socket takes: `only port 2948/udp`, `port 2948/udp and other packets`, `everything`, `unknown`, `unknown: an eBPF program`.";
    "ghostport.service": "string" SERVICES, "The port's name in the catalogue, or IANA's.";
    "ghostport.result": "`success`, `in_use`, `denied`, `error`" RESULTS, "The result of a bind; of a selftest, `success` or `error`.";
    "ghostport.errno": "string or number" &[BindFailed, Awakened, Summary], "The error of a refused bind, as `EADDRINUSE`; its number where it has no name here.";
    "ghostport.held_by": "object" &[BindFailed, Awakened, Summary], "What was in the way of a bind that failed with `EADDRINUSE`, as of that moment: `kind` is `process` (a socket that listens or is bound), `outgoing_connection`, `connection`, `time_wait` or `kernel`; local and peer address and port; `ghostport.port_chosen_by`: `program` for a port that the kernel chooses for no socket; and a process that holds it, with the fields of a process. Absent if it is not known.";
    "ghostport.expected": "boolean" CALLS, "Whether `expect` names the process; of a listener, whether `listeners.expect` does. An awakening by a packet alone has none.";
    "ghostport.netns_inode": "number" PROCESSES, "The inode of the network namespace.";
    "ghostport.mechanism": "string" &[Bind, BindFailed, Listen, Close, Awakened, UnexpectedOwner, HookChanged, Summary, Connect], "The mechanism that observed the call, or that serves the hook.";
    "process.pid": "number" PROCESSES, "The process, in the initial pid namespace.";
    "process.parent_pid": "number" PROCESSES, "Its parent.";
    "process.creation.time": "RFC 3339, ns, UTC" PROCESSES, "When it started.";
    "process.executable.name": "string" PROCESSES, "The kernel's name of the process, at most 15 bytes.";
    "process.executable.path": "string" PROCESSES, "The executable, in the mount namespace of the process.";
    "ghostport.executable_deleted": "boolean" PROCESSES, "`true` if the executable was deleted or replaced.";
    "process.command_args": "list of strings" PROCESSES, "The command line, at most its first 256 bytes.";
    "ghostport.command_args_truncated": "boolean" PROCESSES, "`true` if the command line was longer.";
    "thread.id": "number" THREADS, "The thread that made the call.";
    "thread.name": "string" THREADS, "Its name.";
    "process.user.id": "number" PROCESSES, "The effective user, in the initial user namespace.";
    "process.user.name": "string" PROCESSES, "Its name on the host.";
    "process.real_user.id": "number" PROCESSES, "The real user.";
    "process.real_user.name": "string" PROCESSES, "Its name on the host.";
    "ghostport.real_group_id": "number" PROCESSES, "The real group.";
    "ghostport.cgroup_id": "number" PROCESSES, "The id of the control group in the unified hierarchy.";
    "process.linux.cgroup": "string" PROCESSES, "Its path.";
    "container.id": "string" PROCESSES, "The container.";
    "k8s.pod.uid": "string" PROCESSES, "The pod.";
    "ghostport.systemd_unit": "string" PROCESSES, "The systemd unit.";
    "ghostport.ancestors": "list of objects" PROCESSES, "Ancestors, the parent first: `pid`, `name`, `executable`.";
    "ghostport.executable_sha256": "string" EXECUTABLES, "The SHA-256 of the executable, read through the process: also of a file that was deleted. Absent if it could not be read; `ghostport.reason` says why.";
    "ghostport.executable_size": "number, bytes" EXECUTABLES, "Its size.";
    "process.executable.build_id.gnu": "string" EXECUTABLES, "The build id that the GNU linker gave it.";
    "process.executable.build_id.go": "string" EXECUTABLES, "The build id that the Go toolchain gave it.";
    "ghostport.package": "string" EXECUTABLES, "The package that installed it, in the root of the process: in a container, that of the container, which says what it likes.";
    "ghostport.package_version": "string" EXECUTABLES, "The version of the package.";
    "ghostport.package_origin": "string" EXECUTABLES, "Who made it: origin or maintainer of dpkg, maintainer of apk, vendor of rpm.";
    "ghostport.package_manager": "`dpkg`, `rpm`, `apk`" EXECUTABLES, "The database that has it.";
    "ghostport.executable_modified": "boolean" EXECUTABLES, "Whether it differs from what the package installed, by the hash that the package has: MD5, SHA-1 or SHA-256. Absent if the package has none, and of a file that was replaced.";
    "ghostport.executable_memfd": "boolean" EXECUTABLES, "`true` if it was in memory alone, and never had a path (memfd_create(2)).";
    "ghostport.executable_in_writable_folder": "boolean" EXECUTABLES, "`true` if every user may write to a folder on its path, as to `/tmp`.";
    "ghostport.executable_setuid": "boolean" EXECUTABLES, "`true` if it gives the rights of its owner to those who execute it.";
    "ghostport.executable_setgid": "boolean" EXECUTABLES, "`true` if it gives those of its group.";
    "ghostport.script": "string" EXECUTABLES, "The script that the executable interprets, if it is an interpreter whose arguments name one: as the process shows them, which may have changed them.";
    "ghostport.script_sha256": "string" EXECUTABLES, "The SHA-256 of the script, as it is now.";
    "ghostport.script_package": "string" EXECUTABLES, "The package that installed the script.";
    "ghostport.script_package_version": "string" EXECUTABLES, "The version of that package.";
    "ghostport.script_modified": "boolean" EXECUTABLES, "As `ghostport.executable_modified`, of the script.";
    "ghostport.script_in_writable_folder": "boolean" EXECUTABLES, "`true` if every user may write to a folder on its path.";
    "ghostport.dormant_for_seconds": "number, seconds" &[Awakened], "For how long the port was dormant.";
    "ghostport.path": "`dnat`, `redirect`, `ipvs`, `tproxy`, `sk_lookup`, `sockmap`, `xdp`, `packet_socket`, `raw_socket`, `unknown`" &[Answered, Captured], "How packets reach what answers or takes them.";
    "ghostport.path_target": "string" &[Bind, Answered, UnexpectedOwner, Summary], "What answers: address and port, or a program. Of a port held by a proxy: address and port in the container.";
    "ghostport.count": "number" &[Bind, BindFailed, Listen, Close, Answered, UnexpectedOwner, Summary, Connect, ListenerNew, ListenerChanged, ListenerGone, ListenerUnexpected], "How many events alike this one stands for; absent for one. Of `answered`, how many answers there were: accepted connections, or datagrams.";
    "ghostport.first_time": "RFC 3339, ns, UTC" SUMS, "When the first of them happened.";
    "ghostport.last_time": "RFC 3339, ns, UTC" SUMS, "When the last of them happened.";
    "ghostport.summary_of": "`bind`, `bind_failed`, `listen`, `close`, `unexpected_owner`, `identified`, `connect`, `expected`" &[Summary], "The kind of the events that were summed up; `expected` for the binds of expected owners within a day, which have events of their own.";
    "ghostport.processes": "number" &[Summary], "How many processes made the calls, 64 at most.";
    "ghostport.peers": "number" &[Summary], "How many peers there were: exact for a network of IPv4, otherwise an estimate.";
    "ghostport.peer_network": "string" &[Summary], "The /24 or /64 of the peers; absent where too many networks were seen to tell them apart.";
    "ghostport.bytes": "number, bytes" &[Summary], "The size of the identified payloads on the wire.";
    "ghostport.reason": "string" &[Awakened, Identified, Summary, UnexpectedOwner, AgentStopped, HookChanged, Selftest, Executable], "Why: what awakened the port, what the verdict rests on, why a better mechanism was rejected, why the agent stops, which hooks a selftest was not seen by, why an executable could not be read, what of an owner does not match.";
    "ghostport.verdict": "string" CONVERSATIONS, "What the payload is.";
    "ghostport.grade": "`confirmed`, `consistent`, `suspect`" CONVERSATIONS, "How certain that is.";
    "ghostport.details": "object" &[Identified], "What the payload says of itself.";
    "ghostport.payload_size": "number, bytes" &[Identified], "Its size on the wire.";
    "ghostport.payload_sha256": "string" &[Identified], "The hash of the captured bytes, with `keep: hash`.";
    "ghostport.payload_hex": "string" &[Identified], "The captured bytes, with `keep: bytes`.";
    "service.version": "string" &[AgentStarted], "The version of the agent.";
    "ghostport.hooks": "list of objects" &[AgentStarted], "Every hook: `hook`, `interface` of those that have one, `mechanism` of those that are attached, and in `reason` why better mechanisms were rejected.";
    "ghostport.hook": "`ingress`, `egress`, `bind`, `listen`, `close`, `connect`" &[HookChanged], "The hook.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Map, Value};

    use super::*;

    #[test]
    fn describes_exactly_the_fields_of_the_golden_file() {
        let mut seen = BTreeSet::new();
        for line in include_str!("golden.jsonl").lines() {
            let event: Map<String, Value> = serde_json::from_str(line).expect("an event");
            let name = event["event.name"].as_str().expect("a name");
            let kind = name.strip_prefix("ghostport.").and_then(EventName::from_kind);
            let kind = kind.expect("a known kind");
            for key in event.keys() {
                let field = FIELDS.iter().find(|field| field.name == key);
                let field = field.unwrap_or_else(|| panic!("{key} is not described"));
                assert!(field.kinds.contains(&kind), "{key} of {name}");
                seen.insert(field.name);
            }
        }
        let described: BTreeSet<&str> = FIELDS.iter().map(|field| field.name).collect();
        assert_eq!(seen, described, "every described field is in some event");
        assert_eq!(described.len(), FIELDS.len(), "each field once");
    }
}
