//! Fields of events, from the records of the kernel side.

use jiff::Timestamp;
use monitor_common::{
    socket_event::{Mechanism, SocketEvent, SocketEventKind, TASK_NAME_LEN},
    socket_record::{CapturedCommandLine, SocketRecord},
};
use monitor_kernel::hooks::{Hook, HookMechanism, HookStatus, Rejection};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

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
        ..SocketEvent::NOTHING
    }
}

pub(super) fn line(event: &Event) -> String {
    EncodedEvent::new(event.clone()).expect("JSON").line.as_line().to_owned()
}

/// The event of a call, as far as the kernel side knows it.
fn event(record: &SocketRecord) -> Event {
    let time = context().time_of_day(record.time_ns).expect("a time");
    let call = Call::new(record, &context());
    Event::new(time, EventBody::from_call(call, record, None), &context())
}

fn decoded(event: &SocketEvent) -> SocketRecord {
    SocketRecord::try_from(event).expect("a record")
}

/// The event of a call with this beginning of a command line.
fn event_with(command_line: &[u8], is_truncated: bool) -> Event {
    let mut decoded = decoded(&record());
    let caller = decoded.caller.as_mut().expect("a caller");
    caller.command_line = Some(CapturedCommandLine { bytes: command_line.into(), is_truncated });
    event(&decoded)
}

fn socket_line(record: &SocketEvent) -> String {
    line(&event(&decoded(record)))
}

fn args_of(command_line: &[u8], is_truncated: bool) -> CallerFields {
    event_with(command_line, is_truncated).caller().expect("a caller").clone()
}

#[test]
fn a_bind_has_every_field_that_is_known() {
    insta::assert_snapshot!(socket_line(&record()), @r#"{"schema":"ghostport.event/1","time":"2023-11-14T22:13:21.000000007Z","event.name":"ghostport.bind","host.name":"host","ghostport.severity":"info","network.transport":"udp","network.type":"ipv4","network.local.address":"127.0.0.1","network.local.port":2948,"ghostport.service":"wap-push","ghostport.result":"success","ghostport.netns_inode":4026531840,"process.pid":100,"process.parent_pid":99,"process.creation.time":"2023-11-14T22:13:20.500000003Z","process.executable.name":"bearerbox","thread.id":101,"thread.name":"worker","process.user.id":0,"process.real_user.id":1000,"ghostport.real_group_id":1001,"ghostport.cgroup_id":4711,"ghostport.mechanism":"cgroup"}"#);
}

#[test]
fn splits_command_lines_into_arguments() {
    let line = line(&event_with(b"bb\0-v\0\0x=1", false));
    assert!(line.contains(r#""process.command_args":["bb","-v","","x=1"],"thread.id""#), "{line}");
}

#[test]
fn a_title_is_one_argument() {
    let args = |bytes| args_of(bytes, false).command_args.expect("arguments");
    assert_eq!(args(b"nginx: worker\0\0\0\0"), ["nginx: worker"]);
    assert_eq!(args(b"a\xff\0"), ["a\\xff"]);
}

#[test]
fn marks_truncated_command_lines() {
    assert!(!args_of(b"a\0b\0", false).command_args_truncated);
    assert!(args_of(b"a\0b\0", true).command_args_truncated);
}

#[test]
fn unknown_fields_are_absent() {
    let record = SocketEvent {
        cgroup_id: 0,
        port: 60001,
        protocol: 0,
        known: 0,
        thread_name: [0; TASK_NAME_LEN],
        ..record()
    };
    insta::assert_snapshot!(socket_line(&record), @r#"{"schema":"ghostport.event/1","time":"2023-11-14T22:13:21.000000007Z","event.name":"ghostport.bind","host.name":"host","ghostport.severity":"info","network.local.port":60001,"ghostport.result":"success","process.pid":100,"thread.id":101,"process.real_user.id":1000,"ghostport.real_group_id":1001,"ghostport.mechanism":"cgroup"}"#);
}

#[test]
fn a_refused_bind_names_the_error() {
    let refused = |errno| socket_line(&SocketEvent { errno, ..record() });
    assert!(refused(98).contains(
        r#""event.name":"ghostport.bind_failed","host.name":"host","ghostport.severity":"warning","network.transport":"udp""#
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
fn a_call_in_interrupt_context_has_no_process() {
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
fn rejects_times_outside_the_calendar() {
    assert!(context().time_of_day(record().time_ns).is_some());
    let offset = EventContext { clock_offset_ns: i128::from(i64::MAX) * 1000, ..context() };
    assert_eq!(offset.time_of_day(record().time_ns), None);
}

#[test]
fn the_agent_reports_start_and_stop() {
    let hooks = [HookStatus {
        hook: Hook::Bind,
        interface: None,
        attached: Some(HookMechanism::Fexit),
        adopted: false,
        rejected: Vec::new(),
    }];
    let started = Event::agent_started(Timestamp::UNIX_EPOCH, "0.1.0", &hooks, &context());
    insta::assert_snapshot!(line(&started), @r#"{"schema":"ghostport.event/1","time":"1970-01-01T00:00:00.000000000Z","event.name":"ghostport.agent_started","host.name":"host","ghostport.severity":"info","service.version":"0.1.0","ghostport.hooks":[{"hook":"bind","mechanism":"fexit"}]}"#);
    let stopped = Event::agent_stopped(Timestamp::UNIX_EPOCH, "SIGTERM", &context());
    insta::assert_snapshot!(line(&stopped), @r#"{"schema":"ghostport.event/1","time":"1970-01-01T00:00:00.000000000Z","event.name":"ghostport.agent_stopped","host.name":"host","ghostport.severity":"info","ghostport.reason":"SIGTERM"}"#);
}

#[test]
fn a_changed_hook_names_its_mechanism_and_the_reasons() {
    let mut status = HookStatus {
        hook: Hook::Ingress,
        interface: Some("eth0".into()),
        attached: Some(HookMechanism::Tcx),
        adopted: false,
        rejected: vec![Rejection {
            mechanism: HookMechanism::XdpNative,
            why: "another program is attached".into(),
        }],
    };
    let changed = Event::hook_changed(Timestamp::UNIX_EPOCH, &status, &context());
    insta::assert_snapshot!(line(&changed), @r#"{"schema":"ghostport.event/1","time":"1970-01-01T00:00:00.000000000Z","event.name":"ghostport.hook_changed","host.name":"host","ghostport.severity":"info","ghostport.hook":"ingress","network.interface.name":"eth0","ghostport.mechanism":"tcx","ghostport.reason":"xdp-native: another program is attached"}"#);
    status.attached = None;
    let lost = line(&Event::hook_changed(Timestamp::UNIX_EPOCH, &status, &context()));
    assert!(!lost.contains("ghostport.mechanism"), "{lost}");
}

proptest! {
    #[test]
    fn any_record_is_one_line_of_json(
        bytes in prop::collection::vec(any::<u8>(), size_of::<SocketEvent>()),
        kind in 0_u8..5,
        mechanism in 0_u8..6,
        time_ns in any::<u64>(),
        command_line in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let random: SocketEvent = bytemuck::pod_read_unaligned(&bytes);
        let record = SocketEvent { kind, mechanism, time_ns, ..random };
        if let Ok(mut record) = SocketRecord::try_from(&record)
            && context().time_of_day(record.time_ns).is_some()
        {
            if let Some(caller) = &mut record.caller {
                let (bytes, is_truncated) = (command_line.into(), false);
                caller.command_line = Some(CapturedCommandLine { bytes, is_truncated });
            }
            let line = line(&event(&record));
            prop_assert_eq!(line.matches('\n').count(), 1);
            let value: Value = serde_json::from_str(&line).expect("JSON");
            let object = value.as_object().expect("an object");
            prop_assert!(object.values().all(|value| !value.is_null()));
        }
    }
}
