//! The JSON of every kind of event, byte for byte: consumers parse it, and the store keeps it.
//!
//! `golden.jsonl` has one line for each event below. A change of that file is a change of the
//! format.

use std::{net::IpAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use monitor_common::{
    flow::{Direction, Protocol, Side},
    socket_event::{SocketEvent, SocketEventKind},
    socket_record::{CapturedCommandLine, SocketRecord},
};
use monitor_identify::{Payload, identify};
use monitor_kernel::hooks::{Hook, HookMechanism, HookStatus, Rejection};
use monitor_ledger::{
    BindEvidence, Change, Transition, Wake,
    listeners::{Difference, Field, GroupedNews, News, Novelty, Program, Scope as LearnedScope},
};

use super::{
    Bind, Call, CallerFields, Conversations, Event, EventBody, HeldBy, Repeats, SeenListener,
    SocketFields, Summary,
    tests::{context, line, record},
};
use crate::{
    classification::{Finding, PayloadFacts},
    config::{PayloadConfig, PayloadDetails, PayloadKeep},
    process::{
        Ancestor, Cgroup, CommandLine, Evidence, Executable, ExecutableFacts, FileFacts, Identity,
        Package, PackageManager, SystemdUnit, UnitManager, User,
    },
    sockets::{Capture, CapturedPort, Entry, Path, Reach, Scope, Socket, TcpState, packet_socket},
};

const GOLDEN: &str = include_str!("golden.jsonl");

fn time() -> Timestamp {
    Timestamp::new(1_700_000_001, 7).expect("a time")
}

fn executable(path: &str, is_deleted: bool) -> Executable {
    Executable { path: path.into(), is_deleted }
}

fn identity() -> Identity {
    let user = |id, name: Option<&str>| Some(User { id, name: name.map(Into::into) });
    let ancestor = |pid, name: &str, executable| Ancestor { pid, name: name.into(), executable };
    Identity {
        pid: 100,
        parent_pid: Some(98),
        start_time_ns: Some(500_000_000),
        creation_time: Some(Timestamp::new(1_700_000_000, 500_000_000).expect("a time")),
        executable: Some(executable("/usr/sbin/bearerbox", true)),
        executable_is_hosts: true,
        is_in_hosts_user_namespace: true,
        is_in_hosts_mount_namespace: true,
        name: Some("bearerbox".into()),
        command_line: Some(CommandLine {
            arguments: vec!["bearerbox".into(), "-v\n".into()],
            is_truncated: true,
        }),
        real_user: user(1000, Some("kannel")),
        effective_user: user(0, Some("root")),
        cgroup: Some(Arc::new(Cgroup {
            path: "/system.slice/kannel.service".into(),
            container_id: Some("0123abcd".into()),
            pod_uid: Some("uid".into()),
            unit: Some(SystemdUnit { name: "kannel.service".into(), manager: UnitManager::System }),
        })),
        netns_inode: Some(4_026_531_840),
        ancestors: vec![
            ancestor(99, "sh", Some(executable("/bin/sh", false))),
            ancestor(1, "systemd", None),
        ],
        evidence: Evidence::Pending,
    }
}

fn socket_call(
    kind: SocketEventKind,
    errno: u32,
    expected: Option<bool>,
    change: impl FnOnce(&mut Call),
) -> Event {
    let event = SocketEvent { kind: kind as u8, errno, ..record() };
    let mut record = SocketRecord::try_from(&event).expect("a record");
    let (bytes, is_truncated) = (b"bb\0-v\0".as_slice().into(), true);
    let caller = record.caller.as_mut().expect("a caller");
    caller.command_line = Some(CapturedCommandLine { bytes, is_truncated });
    let time = context().time_of_day(record.time_ns).expect("a time");
    let mut call = Call::new(&record, &context());
    change(&mut call);
    Event::new(time, EventBody::from_call(call, &record, expected), &context())
}

/// A call of a process that is gone from `/proc`.
fn call(kind: SocketEventKind, errno: u32) -> Event {
    socket_call(kind, errno, None, |_| ())
}

fn complete(call: &mut Call) {
    call.complete(&identity());
}

fn anonymize(call: &mut Call) {
    call.caller = None;
}

fn bind(errno: u32, expected: Option<bool>) -> Event {
    socket_call(SocketEventKind::Bind, errno, expected, complete)
}

/// A bind by a program that passes what comes on to a container.
fn bind_of_a_proxy() -> Event {
    let line =
        "docker-proxy -proto udp -host-port 2948 -container-ip 172.17.0.2 -container-port 80";
    socket_call(SocketEventKind::Bind, 0, Some(false), |call| {
        let caller = call.caller.as_mut().expect("a caller");
        caller.command_args = Some(line.split(' ').map(str::to_owned).collect());
        caller.command_args_truncated = false;
    })
}

/// A bind that was refused because of another process.
fn refused_for_a_holder() -> Event {
    let mut event = bind(98, Some(false));
    let EventBody::BindFailed(failed) = &mut event.body else { unreachable!("it was refused") };
    failed.held_by = Some(Box::new(HeldBy {
        kind: "process",
        local_address: [127, 0, 0, 1].into(),
        local_port: 2948,
        peer_address: None,
        peer_port: None,
        port_chosen_by: Some("program"),
        holder: Some(CallerFields::found(&identity())),
    }));
    event
}

/// A bind by the kernel itself, as for VXLAN.
fn bind_of_the_kernel() -> Event {
    socket_call(SocketEventKind::Bind, 0, Some(false), |call| {
        call.caller = None;
        call.socket.is_of_kernel = true;
        call.socket.is_v6_only = Some(true);
    })
}

fn anonymous_bind(expected: Option<bool>) -> Event {
    socket_call(SocketEventKind::Bind, 0, expected, anonymize)
}

fn transition(change: Change, call: Option<&Event>) -> Event {
    let transition = Transition { port: 2948, time: time(), change };
    Event::from_transition(&transition, call, None, &context()).expect("an event")
}

fn awakened_by_sender() -> Event {
    let (protocol, direction) = (Protocol::Udp, Direction::Ingress);
    let wake = Wake::Packet { protocol, direction, side: Side::Local };
    let change = Change::Awakened { wake, dormant_for: Duration::from_secs(86_400) };
    let transition = Transition { port: 2948, time: time(), change };
    let sender = Some(([192, 0, 2, 7], 40_000).into());
    Event::from_transition(&transition, None, sender, &context()).expect("an event")
}

fn awakened_by_bind(evidence: BindEvidence, call: Option<&Event>) -> Event {
    let expected = call.map(|call| *call == bind(0, Some(true)));
    let wake = Wake::Bind { protocol: Protocol::Udp, evidence, expected };
    transition(Change::Awakened { wake, dormant_for: Duration::from_millis(90_500) }, call)
}

fn awakened_by_packet() -> Event {
    let (protocol, direction) = (Protocol::Tcp, Direction::Ingress);
    let wake = Wake::Packet { protocol, direction, side: Side::Local };
    let dormant_for = Duration::from_secs(86_400);
    // A bind at the same time is not what awakened the port.
    transition(Change::Awakened { wake, dormant_for }, Some(&bind(0, Some(true))))
}

fn identified(keep: PayloadKeep, interface: Option<&str>, direction: Direction) -> Event {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let finding = Finding {
        time_ns: 1_000_000_007,
        interface: 2,
        port: 2948,
        protocol: Protocol::Tcp,
        direction,
        local: ([192, 0, 2, 1], 2948).into(),
        peer: ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 40_000).into(),
        identification: identify(&Payload {
            bytes,
            wire_len: bytes.len(),
            transport: Some(Protocol::Tcp),
            source_port: Some(40_000),
            destination_port: Some(2948),
            direction: Some(direction),
        }),
        payload: Some(PayloadFacts { size: bytes.len(), bytes: bytes.to_vec() }),
    };
    let config = PayloadConfig { capture: true, keep, details: PayloadDetails::Names };
    Event::identified(&finding, interface, config, &context()).expect("an event")
}

fn scanned() -> Event {
    let finding = Finding {
        time_ns: 1_000_000_007,
        interface: 2,
        port: 2948,
        protocol: Protocol::Tcp,
        direction: Direction::Egress,
        local: ([192, 0, 2, 1], 40_000).into(),
        peer: ([192, 0, 2, 7], 2948).into(),
        identification: monitor_identify::Identification::new(
            monitor_identify::Verdict::Empty,
            monitor_identify::Grade::Confirmed,
            "nothing",
        ),
        payload: None,
    };
    let config =
        PayloadConfig { capture: true, keep: PayloadKeep::Hash, details: PayloadDetails::Names };
    Event::identified(&finding, None, config, &context()).expect("an event")
}

fn udp(port: u16) -> CapturedPort {
    CapturedPort { port, protocol: Protocol::Udp }
}

fn tcp(port: u16) -> CapturedPort {
    CapturedPort { port, protocol: Protocol::Tcp }
}

fn captured(scope: Scope, holder: Option<Identity>) -> Event {
    let holders = holder.into_iter().map(Arc::new).collect();
    let capture = Capture { holders, ..packet_socket(scope) };
    Event::captured(&capture, time(), &context())
}

fn found_socket() -> Socket {
    Socket {
        port: 2948,
        side: Side::Local,
        netns_inode: Some(4_026_531_840),
        scope: None,
        interface: None,
        entry: Entry {
            protocol: Protocol::Tcp,
            local: ([0; 8], 2948).into(),
            peer: None,
            tcp_state: Some(TcpState::Listen),
            inode: 7,
            interface: 0,
            is_v6_only: None,
        },
        holders: Vec::new(),
        holders_unknown: false,
        is_accepted: false,
        expected: Some(false),
    }
}

fn unexpected_holder(holder: Option<&Identity>) -> Event {
    let socket = found_socket();
    Event::unexpected_holder(&socket, holder, false, time(), &context())
}

fn hook(attached: Option<HookMechanism>, interface: Option<&str>) -> HookStatus {
    let passed = |mechanism, why: &str| Rejection { mechanism, why: why.into() };
    HookStatus {
        hook: Hook::Ingress,
        interface: interface.map(Into::into),
        attached,
        adopted: false,
        rejected: match interface {
            Some(_) => vec![
                passed(HookMechanism::XdpNative, "another program is attached"),
                passed(HookMechanism::XdpGeneric, "not allowed"),
            ],
            None => Vec::new(),
        },
    }
}

fn hook_changed(attached: Option<HookMechanism>, interface: Option<&str>) -> Event {
    Event::hook_changed(time(), &hook(attached, interface), &context())
}

fn started() -> Event {
    let hooks = [hook(Some(HookMechanism::Tcx), Some("eth0")), hook(None, None)];
    Event::agent_started(time(), "0.1.0", &hooks, &context())
}

fn redirected() -> Event {
    let reach = Reach { path: Path::Dnat, target: Some("10.244.1.7:8080".into()) };
    Event::answered(2948, Protocol::Udp, 1, reach, time(), &context())
}

fn repeated(event: Event) -> Event {
    let last = Timestamp::new(1_700_000_300, 0).expect("a time");
    Event { repeats: Some(Repeats { count: 120, first: time(), last }), ..event }
}

fn summary(summary: Summary) -> Event {
    repeated(Event::new(time(), EventBody::Summary(summary), &context()))
}

fn calls(of: Event, processes: u64) -> Event {
    summary(Summary::Calls { last: Box::new(of.body), processes: Some(processes) })
}

fn conversations(peers: u64, network: Option<(IpAddr, u8)>) -> Event {
    let event = identified(PayloadKeep::None, None, Direction::Ingress);
    let EventBody::Identified(last) = event.body else { unreachable!("it was identified") };
    summary(Summary::Conversations(Box::new(Conversations { last, peers, network, bytes: 4800 })))
}

fn connect(change: impl FnOnce(&mut Call)) -> Event {
    socket_call(SocketEventKind::Connect, 0, None, change)
}

fn connect_to_several() -> Event {
    let mut event = connect(complete);
    let EventBody::Connect(connect) = &mut event.body else { unreachable!("a connect") };
    connect.peer_address = None;
    event
}

fn awakened_by_connect() -> Event {
    let wake =
        Wake::Packet { protocol: Protocol::Tcp, direction: Direction::Egress, side: Side::Remote };
    let change = Change::Awakened { wake, dormant_for: Duration::from_secs(90) };
    transition(change, Some(&connect(complete)))
}

fn selftest(failure: Option<&str>) -> Event {
    let EventBody::Bind(Bind { call, .. }) = bind(0, None).body else { unreachable!("a bind") };
    let call = failure.is_none().then_some(call);
    let at = ([127, 83, 12, 201], 2948).into();
    Event::selftest(time(), at, call, failure.map(str::to_owned), &context())
}

/// What was found out about the file of a process.
fn executable_found(change: impl FnOnce(&mut ExecutableFacts)) -> Event {
    let package = |name: &str| Package {
        manager: PackageManager::Dpkg,
        name: name.into(),
        version: Some("1.4.5-16".into()),
        origin: Some("Debian".into()),
    };
    let file = |path: &str, is_modified| FileFacts {
        path: path.into(),
        size: Some(1_234_567),
        sha256: Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into()),
        is_in_writable_folder: is_modified,
        package: Some(package("kannel")),
        is_modified: Some(is_modified),
        unread: None,
    };
    let mut facts = ExecutableFacts {
        file: file("/usr/sbin/bearerbox", false),
        gnu_build_id: Some("0102feff".into()),
        ..ExecutableFacts::default()
    };
    change(&mut facts);
    if facts.is_setuid {
        facts.file = file("/tmp/python3", true);
        facts.script = Some(file("/tmp/a.py", true));
    }
    let socket = SocketFields {
        netns_inode: Some(4_026_531_840),
        ..SocketFields::at(Protocol::Tcp, ([127, 0, 0, 1], 2948).into())
    };
    let facts = Arc::new(facts);
    Event::executable(socket, Some(2948), &identity(), facts, time(), &context())
}

fn unread_executable() -> Event {
    let mut event = executable_found(|facts| *facts = ExecutableFacts::default());
    let EventBody::Executable(found) = &mut event.body else { unreachable!("an executable") };
    found.socket = SocketFields::unknown();
    let unread = Some("it is larger than evidence.max_size");
    let file = FileFacts { unread, ..FileFacts::default() };
    found.facts = Arc::new(ExecutableFacts { file, ..ExecutableFacts::default() });
    event
}

/// What the baseline finds on some ports.
fn listeners(novelty: Novelty, ports: Vec<u16>, is_expected: bool, is_known: bool) -> Vec<Event> {
    let mut found = found_socket();
    found.holders = vec![Arc::new(identity())];
    found.entry.is_v6_only = Some(true);
    found.interface = Some("eth0".into());
    let program = Program {
        executable: Some("/usr/sbin/bearerbox".into()),
        unit: Some("kannel.service".into()),
        user: Some("kannel".into()),
        container: None,
    };
    let (entry, protocol, scope) = (1, Protocol::Tcp, LearnedScope::World);
    let first = News { entry, novelty, protocol, port: 2948, scope, program };
    let last = Timestamp::new(1_700_000_002, 0).expect("a time");
    let (count, times) = (ports.len() as u64, [time(), last]);
    let evidence = is_known.then(|| SeenListener::found(&found, Some(&identity())));
    let entries = vec![1];
    let news = GroupedNews { first, is_expected, ports, count, times, evidence, entries };
    Event::of_listeners(news, &context())
}

fn all_listeners() -> Vec<Event> {
    let difference = |field, from: Option<&str>, to: Option<&str>| {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Difference { field, from: text(from), to: text(to) }
    };
    let changed = Novelty::Changed(vec![
        difference(Field::Executable, Some("/usr/bin/nc"), Some("/usr/sbin/bearerbox")),
        difference(Field::Unit, None, Some("kannel.service")),
        difference(Field::Scope, Some("host"), Some("world")),
    ]);
    [
        listeners(Novelty::New, vec![2948], true, true),
        listeners(Novelty::New, (1..=64).collect(), false, true),
        listeners(changed, vec![2948], false, true),
        listeners(Novelty::Gone, vec![2948], false, false),
    ]
    .concat()
}

fn events() -> Vec<Event> {
    use BindEvidence::{Bound, Closed, Counted, Found, Listens, Refused};
    let (refused, unnamed) = (bind(98, Some(false)), bind(4000, None));
    let others = vec![
        call(SocketEventKind::Bind, 0),
        bind(0, None),
        bind(0, Some(true)),
        anonymous_bind(Some(false)),
        refused.clone(),
        unnamed,
        socket_call(SocketEventKind::Listen, 0, Some(true), complete),
        socket_call(SocketEventKind::Close, 0, None, anonymize),
        awakened_by_bind(Bound, Some(&bind(0, Some(true)))),
        awakened_by_bind(Bound, Some(&anonymous_bind(None))),
        awakened_by_bind(Refused, Some(&refused)),
        awakened_by_bind(Listens, Some(&call(SocketEventKind::Listen, 0))),
        awakened_by_bind(Closed, Some(&call(SocketEventKind::Close, 0))),
        awakened_by_bind(Counted, None),
        awakened_by_bind(Found, None),
        awakened_by_packet(),
        awakened_by_sender(),
        transition(Change::Dormant, None),
        Event::answered(2948, Protocol::Tcp, 3, Reach::default(), time(), &context()),
        redirected(),
        captured(Scope::OnlyWatched(vec![udp(2948)]), Some(identity())),
        captured(Scope::WatchedToo(vec![udp(2948), tcp(2948), tcp(2949)]), None),
        captured(Scope::Everything, None),
        identified(PayloadKeep::None, None, Direction::Ingress),
        identified(PayloadKeep::Hash, Some("eth0"), Direction::Ingress),
        identified(PayloadKeep::Bytes, Some("eth0"), Direction::Egress),
        scanned(),
        bind(0, Some(false)).unexpected_owner().expect("unexpected"),
        bind_of_a_proxy(),
        bind_of_a_proxy().unexpected_owner().expect("unexpected"),
        unexpected_holder(Some(&identity())),
        unexpected_holder(None),
        started(),
        Event::agent_stopped(time(), "SIGTERM", &context()),
        hook_changed(Some(HookMechanism::Tcx), Some("eth0")),
        hook_changed(None, Some("eth0")),
        hook_changed(None, None),
        repeated(bind(0, Some(true))),
        calls(bind(98, Some(false)), 1),
        calls(bind_of_a_proxy(), 3),
        conversations(1, Some((IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0]), 64))),
        conversations(1000, None),
        connect(complete),
        connect(anonymize),
        calls(connect_to_several(), 3),
        awakened_by_connect(),
        selftest(None),
        selftest(Some("not seen: egress by tcx; close, which is not attached")),
        refused_for_a_holder(),
        bind_of_the_kernel(),
        bind(0, None).owner_that_differs("no package has its executable".into()).expect("a bind"),
        executable_found(|_| ()),
        executable_found(|facts| {
            (facts.is_setuid, facts.is_setgid, facts.is_memfd) = (true, true, true);
            facts.go_build_id = Some("a/b".into());
        }),
        unread_executable(),
    ];
    [others, all_listeners()].concat()
}

#[test]
fn every_kind_is_encoded_as_recorded() {
    let events = events();
    let lines: Vec<&str> = GOLDEN.lines().collect();
    assert_eq!(events.len(), lines.len());
    for (event, golden) in events.iter().zip(lines) {
        assert_eq!(line(event).trim_end(), golden);
    }
    for name in super::EventName::ALL {
        let field = format!(r#""event.name":"ghostport.{}""#, name.kind());
        assert!(GOLDEN.contains(&field), "{field}");
    }
}

#[test]
#[ignore = "writes the file that the other test compares with"]
fn record_the_golden_file() {
    let lines: String = events().iter().map(line).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/event/golden.jsonl");
    std::fs::write(path, lines).expect("written");
}
