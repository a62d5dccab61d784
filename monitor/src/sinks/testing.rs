//! An event with everything that a sink may tell, for the tests of the sinks.

use jiff::Timestamp;

use crate::event::{CallerFields, Event, EventContext, EventName, IdentityFields, SocketFields};
use monitor_ledger::Cause;

/// `nc[4711]` and TCP port 2948 of `web1`.
pub(super) fn event(name: EventName) -> Event {
    let context = EventContext { host_name: "web1".into(), clock_offset_ns: 0 };
    let time = Timestamp::new(1, 1).expect("a time");
    Event {
        name,
        socket: Some(SocketFields {
            transport: Some("tcp"),
            network_type: Some("ipv4"),
            local_address: Some([127, 0, 0, 1].into()),
            local_port: Some(2948),
            service: Some("wap-push"),
            result: Some("success"),
            errno: None,
            netns_inode: Some(4_026_531_840),
        }),
        caller: Some(caller()),
        expected: Some(false),
        dormant_for_seconds: Some(90.5),
        cause: Some(Cause::Bind),
        reason: Some("tcp bind".into()),
        ..Event::agent_stopped(time, "", &context)
    }
}

fn caller() -> CallerFields {
    CallerFields {
        pid: 4711,
        parent_pid: Some(1),
        creation_time: None,
        executable_name: Some("nc".into()),
        command_args: Some(vec!["nc".into(), "-l".into(), "29\n48".into()]),
        command_args_truncated: false,
        thread_id: Some(4711),
        thread_name: None,
        user_id: Some(1000),
        real_user_id: Some(1000),
        real_group_id: Some(1000),
        cgroup_id: None,
        identity: IdentityFields {
            executable_path: Some("/usr/bin/nc".into()),
            user_name: Some("kannel".into()),
            systemd_unit: Some("kannel.service".into()),
            ..IdentityFields::default()
        },
    }
}
