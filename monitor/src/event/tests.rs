use monitor_common::socket_event::TASK_NAME_LEN;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use monitor_kernel::hooks::{Hook, HookMechanism, PassedOver};

#[test]
fn kinds_are_the_names_without_their_prefix() {
    for name in EventName::ALL {
        let full = serde_json::to_value(name).expect("a name");
        assert_eq!(full, format!("ghostport.{}", name.kind()));
        assert_eq!(EventName::from_kind(name.kind()), Some(name));
    }
}

pub(super) fn context() -> EventContext {
    EventContext { host_name: "host".into(), clock_offset_ns: 1_700_000_000_000_000_000 }
}

fn name(text: &[u8]) -> [u8; TASK_NAME_LEN] {
    let mut padded = [0; TASK_NAME_LEN];
    padded[..text.len()].copy_from_slice(text);
    padded
}

pub(super) fn record() -> SocketEvent {
    SocketEvent {
        time_ns: 1_000_000_007,
        cgroup_id: 4711,
        start_time_ns: 500_000_003,
        tgid: 100,
        pid: 101,
        uid: 1000,
        gid: 1001,
        effective_uid: 0,
        netns_inode: 4026531840,
        errno: 0,
        parent_tgid: 99,
        command_line_len: 10,
        port: 2948,
        kind: SocketEventKind::Bind as u8,
        protocol: 17,
        address: [127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        thread_name: name(b"worker"),
        process_name: name(b"bearerbox"),
        known: 0xff,
        family: 4,
        mechanism: Mechanism::Cgroup as u8,
        arguments_at: 0,
    }
}

fn line(event: &Event) -> String {
    String::from_utf8(event.to_line().expect("a line")).expect("text")
}

fn socket_line(record: &SocketEvent) -> String {
    line(&Event::from_socket_event(record, None, &context()).expect("an event"))
}

fn args_of(record: &SocketEvent, command_line: &[u8]) -> CallerFields {
    let event = Event::from_socket_event(record, Some(command_line), &context());
    event.expect("an event").caller.expect("a caller")
}

#[test]
fn bind_tells_everything() {
    insta::assert_snapshot!(socket_line(&record()), @r#"{"schema":"ghostport.event/1","time":"2023-11-14T22:13:21.000000007Z","event.name":"ghostport.bind","host.name":"host","network.transport":"udp","network.type":"ipv4","network.local.address":"127.0.0.1","network.local.port":2948,"ghostport.service":"wap-push","ghostport.result":"success","ghostport.netns_inode":4026531840,"process.pid":100,"process.parent_pid":99,"process.creation.time":"2023-11-14T22:13:20.500000003Z","process.executable.name":"bearerbox","thread.id":101,"thread.name":"worker","process.user.id":0,"process.real_user.id":1000,"ghostport.real_group_id":1001,"ghostport.cgroup_id":4711,"ghostport.mechanism":"cgroup"}"#);
}

#[test]
fn command_lines_are_told_by_argument() {
    let event = Event::from_socket_event(&record(), Some(b"bb\0-v\0\0x=1"), &context());
    let line = line(&event.expect("an event"));
    assert!(line.contains(r#""process.command_args":["bb","-v","","x=1"],"thread.id""#), "{line}");
}

#[test]
fn a_title_is_one_argument() {
    let args = |bytes| args_of(&record(), bytes).command_args.expect("arguments");
    assert_eq!(args(b"nginx: worker\0\0\0\0"), ["nginx: worker"]);
    assert_eq!(args(b"a\xff\0"), ["a\\xff"]);
}

#[test]
fn what_was_cut_off_a_command_line_is_admitted() {
    let whole = SocketEvent { command_line_len: 4, ..record() };
    assert!(!args_of(&whole, b"a\0b\0").command_args_truncated);
    let longer = SocketEvent { command_line_len: 5, ..record() };
    assert!(args_of(&longer, b"a\0b\0").command_args_truncated);
}

#[test]
fn what_is_not_known_is_absent() {
    let record = SocketEvent {
        cgroup_id: 0,
        port: 60001,
        protocol: 0,
        known: 0,
        thread_name: [0; TASK_NAME_LEN],
        ..record()
    };
    insta::assert_snapshot!(socket_line(&record), @r#"{"schema":"ghostport.event/1","time":"2023-11-14T22:13:21.000000007Z","event.name":"ghostport.bind","host.name":"host","network.local.port":60001,"ghostport.result":"success","process.pid":100,"thread.id":101,"process.real_user.id":1000,"ghostport.real_group_id":1001,"ghostport.mechanism":"cgroup"}"#);
}

#[test]
fn refused_bind_names_the_error() {
    let refused = |errno| socket_line(&SocketEvent { errno, ..record() });
    assert!(refused(98).contains(
        r#""event.name":"ghostport.bind_failed","host.name":"host","network.transport":"udp""#
    ));
    assert!(refused(98).contains(r#""ghostport.result":"in_use","ghostport.errno":"EADDRINUSE""#));
    assert!(refused(13).contains(r#""ghostport.result":"denied","ghostport.errno":"EACCES""#));
    assert!(refused(4000).contains(r#""ghostport.result":"error","ghostport.errno":4000"#));
}

#[test]
fn listen_and_close_have_no_result() {
    for (kind, name) in [(SocketEventKind::Listen, "listen"), (SocketEventKind::Close, "close")] {
        let line = socket_line(&SocketEvent { kind: kind as u8, errno: 98, ..record() });
        assert!(line.contains(&format!(r#""event.name":"ghostport.{name}""#)), "{line}");
        assert!(!line.contains("result") && !line.contains("errno"), "{line}");
    }
}

#[test]
fn interrupt_context_is_nobody() {
    let line = socket_line(&SocketEvent { tgid: 0, ..record() });
    assert!(!line.contains("process.") && !line.contains("thread."), "{line}");
    assert!(!line.contains("cgroup_id"), "{line}");
}

#[test]
fn ipv6_addresses_are_written_as_rfc_5952_says() {
    let mut address = [0; 16];
    address[15] = 1;
    let line = socket_line(&SocketEvent { family: 6, address, ..record() });
    assert!(line.contains(r#""network.type":"ipv6","network.local.address":"::1""#), "{line}");
}

#[test]
fn names_are_text_whatever_their_bytes() {
    let line = socket_line(&SocketEvent { thread_name: name(b"a\n\"\x1b"), ..record() });
    assert!(line.contains(r#""thread.name":"a\n\"\u001b""#), "{line}");
}

#[test]
fn records_that_make_no_sense_are_refused() {
    let error = |record: SocketEvent| Event::from_socket_event(&record, None, &context()).err();
    assert_eq!(error(SocketEvent { kind: 0, ..record() }), Some(DecodeError::Kind(0)));
    let mechanism = error(SocketEvent { mechanism: 77, ..record() });
    assert_eq!(mechanism, Some(DecodeError::Mechanism(77)));
    let offset = EventContext { clock_offset_ns: i128::from(i64::MAX) * 1000, ..context() };
    let time = Event::from_socket_event(&record(), None, &offset).err();
    assert_eq!(time, Some(DecodeError::Time(1_000_000_007)));
}

#[test]
fn the_agent_tells_of_itself() {
    let started = Event::agent_started(Timestamp::UNIX_EPOCH, "0.1.0", &context());
    insta::assert_snapshot!(line(&started), @r#"{"schema":"ghostport.event/1","time":"1970-01-01T00:00:00.000000000Z","event.name":"ghostport.agent_started","host.name":"host","service.version":"0.1.0"}"#);
    let stopped = Event::agent_stopped(Timestamp::UNIX_EPOCH, "SIGTERM", &context());
    insta::assert_snapshot!(line(&stopped), @r#"{"schema":"ghostport.event/1","time":"1970-01-01T00:00:00.000000000Z","event.name":"ghostport.agent_stopped","host.name":"host","ghostport.reason":"SIGTERM"}"#);
}

#[test]
fn a_changed_hook_tells_its_mechanism_and_why() {
    let mut status = HookStatus {
        hook: Hook::Ingress,
        interface: Some("eth0".into()),
        attached: Some(HookMechanism::Tcx),
        adopted: false,
        passed_over: vec![PassedOver {
            mechanism: HookMechanism::XdpNative,
            why: "another program is attached".into(),
        }],
    };
    let changed = Event::hook_changed(Timestamp::UNIX_EPOCH, &status, &context());
    insta::assert_snapshot!(line(&changed), @r#"{"schema":"ghostport.event/1","time":"1970-01-01T00:00:00.000000000Z","event.name":"ghostport.hook_changed","host.name":"host","ghostport.hook":"ingress","network.interface.name":"eth0","ghostport.mechanism":"tcx","ghostport.reason":"xdp-native: another program is attached"}"#);
    status.attached = None;
    let lost = line(&Event::hook_changed(Timestamp::UNIX_EPOCH, &status, &context()));
    assert!(!lost.contains("ghostport.mechanism"), "{lost}");
}

proptest! {
    #[test]
    fn any_bytes_are_json_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), size_of::<SocketEvent>()),
        kind in 0_u8..5,
        mechanism in 0_u8..6,
        time_ns in any::<u64>(),
        command_line in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let random: SocketEvent = bytemuck::pod_read_unaligned(&bytes);
        let record = SocketEvent { kind, mechanism, time_ns, ..random };
        if let Ok(event) = Event::from_socket_event(&record, Some(&command_line), &context()) {
            let line = line(&event);
            prop_assert_eq!(line.matches('\n').count(), 1);
            let value: Value = serde_json::from_str(&line).expect("JSON");
            let object = value.as_object().expect("an object");
            prop_assert!(object.values().all(|value| !value.is_null()));
        }
    }
}
