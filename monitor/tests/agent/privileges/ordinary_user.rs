//! `ghostport doctor` for a user who has none of the agent's privileges.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
};

use rustix::mount::{MountFlags, mount};
use serde_json::Value;
use testkit::{
    agent::{Agent, finish, json, stdout},
    privileges::{Privileges, SOMEBODY},
    world::{World, in_world},
};

use super::{doctor::Doctor, support::config};

struct Report {
    code: Option<i32>,
    text: String,
    document: Value,
}

fn doctor(world: &World) -> Report {
    let ask =
        |arguments: &[&str]| finish(&mut Privileges::none(SOMEBODY).ghostport(world, arguments));
    let (text, document) = (ask(&["doctor"]), ask(&["doctor", "--json"]));
    assert_eq!(text.status.code(), document.status.code());
    let report =
        Report { code: text.status.code(), text: stdout(&text), document: json(&document) };
    assert!(!report.text.contains("broken"), "{}", report.text);
    report
}

#[track_caller]
fn assert_unknown(report: &Report) {
    assert_eq!((report.code, &report.document["verdict"]), (Some(2), &"unknown".into()));
    assert!(report.text.contains("sudo ghostport doctor"), "{}", report.text);
    assert!(report.text.contains("group of"), "{}", report.text);
    assert_eq!(report.document["hooks"], Value::Array(vec![]), "{}", report.text);
}

#[test]
fn doctor_does_not_judge_a_host_by_the_privileges_of_an_ordinary_user() {
    in_world(|world| {
        let report = doctor(world);
        assert_unknown(&report);
        assert_eq!(report.document["agent"]["running"], false, "{}", report.text);
        assert!(report.text.contains("agent    not running"), "{}", report.text);
    });
}

#[test]
fn doctor_shows_an_ordinary_user_what_the_agent_left_for_all() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        let root = Doctor::of_root();
        let report = doctor(world);
        assert_eq!(report.code, Some(root.code), "{}{}", report.text, root.text);
        assert_eq!(report.document["agent"]["pid"], agent.pid(), "{}", report.text);
        assert_eq!(report.document["hooks"], root.page["hooks"]);
        assert_eq!(report.document["facts"][0], root.page["facts"][0]);
    });
}

#[test]
fn doctor_says_what_an_ordinary_user_cannot_see_of_the_agent() {
    in_world(|world| {
        let _agent = Agent::start(world, &config());
        fs::set_permissions("/run/ghostport", Permissions::from_mode(0o700)).expect("closed");
        let report = doctor(world);
        assert_unknown(&report);
        // Found among all processes, where another agent of this machine may come first.
        let pid = &report.document["agent"]["pid"];
        let name = fs::read_to_string(format!("/proc/{pid}/comm"));
        assert_eq!(name.expect("a process"), "ghostport\n", "{}", report.text);
        mount("proc", "/proc", "proc", MountFlags::empty(), Some(c"hidepid=2")).expect("mounted");
        let report = doctor(world);
        assert_unknown(&report);
        assert_eq!(report.document["agent"].get("running"), None, "unknown, not no");
        assert!(!report.text.contains("not running"), "{}", report.text);
    });
}
