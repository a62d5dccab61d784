//! What `check` reports where it cannot see everything.

use std::process::{Command, Output};

use rustix::mount::{MountFlags, mount};
use serde_json::Value;
use testkit::{
    agent::{binary, finish, ghostport, json, stderr, stdout},
    privileges::{Privileges, SOMEBODY},
    world::{Peer, World, in_world, port},
};

use super::support::{Holder, bound_udp};

/// `check` of one port, as a user without any privilege.
fn check_as_user(world: &World, options: &[&str]) -> Output {
    let port = port(0).to_string();
    let arguments = [&["check", &*port], options].concat();
    finish(&mut Privileges::none(SOMEBODY).ghostport(world, &arguments))
}

/// `check` of one port, as root in a pid namespace of its own.
fn check_in_pid_namespace(options: &[&str]) -> Output {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(binary());
    finish(command.arg("check").arg(port(0).to_string()).args(options))
}

fn hide_processes() {
    mount("proc", "/proc", "proc", MountFlags::empty(), Some(c"hidepid=2")).expect("mounted");
}

#[track_caller]
fn assert_unsure(page: &Output, document: &Output, reason: &str) -> Value {
    let (page, warning) = (stdout_of(page), stderr(page));
    assert!(page.contains("visible to you"), "{page}");
    assert!(warning.contains(reason) && warning.contains("(run it "), "{warning}");
    assert_eq!(document.status.code(), Some(2), "{}", stderr(document));
    let document: Value = json(document);
    let reasons = document["not_visible"].to_string();
    assert!(reasons.contains(reason), "{document}");
    document
}

fn stdout_of(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{}{}", stdout(output), stderr(output));
    stdout(output)
}

#[test]
fn check_does_not_call_a_port_free_where_processes_are_hidden() {
    in_world(|world| {
        hide_processes();
        let assert_unsure = || {
            let (page, document) = (check_as_user(world, &[]), check_as_user(world, &["--json"]));
            assert_unsure(&page, &document, "hidepid")
        };
        assert_unsure();
        // In another namespace, which only the holder leads to.
        let peer = Peer::alone();
        let there = peer.run(|| Holder::start(bound_udp(port(0))));
        let document = assert_unsure();
        assert_eq!(document["ports"][0]["sockets"], Value::Array(vec![]), "{document}");
        let root = finish(ghostport().args(["check", &port(0).to_string()]));
        assert_eq!(root.status.code(), Some(1), "{}", stderr(&root));
        drop(there);
        // In this one, whose sockets every user may list.
        let _here = Holder::start(bound_udp(port(0)));
        let document = assert_unsure();
        let sockets = document["ports"][0]["sockets"].as_array().expect("sockets");
        assert_eq!(sockets.len(), 1, "{document}");
        assert_eq!(sockets[0].get("holders"), None, "unknown, not none: {document}");
    });
}

#[test]
fn check_in_a_pid_namespace_does_not_call_a_port_free() {
    in_world(|_| {
        let assert_unsure = || {
            let (page, document) =
                (check_in_pid_namespace(&[]), check_in_pid_namespace(&["--json"]));
            assert_unsure(&page, &document, "pid namespace")
        };
        assert_unsure();
        let _here = bound_udp(port(0));
        let document = assert_unsure();
        let socket = &document["ports"][0]["sockets"][0];
        assert_eq!(socket.get("holders"), None, "unknown, not none: {document}");
    });
}

/// Root with CAP_DAC_READ_SEARCH may list the descriptors of others, and without CAP_SYS_PTRACE not read
/// what they are.
#[test]
fn check_without_cap_sys_ptrace_does_not_say_that_no_process_holds_a_socket() {
    in_world(|_| {
        let _holder = Holder::start(bound_udp(port(0)));
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"]).arg(binary());
        let port = port(0).to_string();
        let output = finish(command.args(["check", &port, "--json"]));
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        let document: Value = json(&output);
        let socket = &document["ports"][0]["sockets"][0];
        assert_eq!(socket.get("holders"), None, "unknown, not none: {document}");
    });
}
