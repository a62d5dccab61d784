//! Starts and reloads that are refused, and what is said about them.

use std::{fs, net::TcpListener};

use serde_json::Value;
use testkit::{
    agent::{Agent, LISTEN, finish, ghostport, stderr, stdout},
    world::in_world,
};

use super::support::{as_nobody, bind_watched, binds, config, only_error};

#[test]
fn refuses_to_start_beside_a_running_agent() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        let path = config().write(world);
        let second = finish(
            ghostport()
                .args(["run", "--web.listen-address", "127.0.0.1:10949", "--config"])
                .arg(&path),
        );
        assert_eq!(second.status.code(), Some(1));
        let message = only_error(&second);
        assert!(message.contains("another ghostport agent runs"), "{message}");
        assert!(message.contains(&agent.pid().to_string()), "{message}");
        bind_watched();
        assert_eq!(binds(&agent), 1);

        // Without a listener of its own it fails all the same, with one message.
        let third = finish(ghostport().args(["run", "--config"]).arg(&path));
        assert_eq!(third.status.code(), Some(1));
        only_error(&third);
        assert_eq!(agent.terminate().code(), Some(0));
    });
}

#[test]
fn reports_a_listen_address_in_use() {
    in_world(|world| {
        let _taken = TcpListener::bind(("127.0.0.1", LISTEN)).expect("bound");
        let path = config().write(world);
        let output = finish(ghostport().args(["run", "--config"]).arg(&path));
        assert_eq!(output.status.code(), Some(1));
        let message = only_error(&output);
        assert!(message.contains("127.0.0.1:10948"), "{message}");
        let links = fs::read_dir("/sys/fs/bpf/ghostport/links").map_or(0, Iterator::count);
        assert_eq!(links, 0, "hooks of an agent that has failed to start");
    });
}

#[test]
fn names_all_missing_privileges_in_one_message() {
    in_world(|world| {
        let path = config().write(world);
        let path = path.to_str().expect("text");
        let output = finish(&mut as_nobody(world, &["run", "--config", path]));
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let said = stderr(&output);
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
        for capability in ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"] {
            assert!(said.contains(capability), "{said}");
        }

        let doctor = finish(&mut as_nobody(world, &["doctor"]));
        assert_eq!(doctor.status.code(), Some(2), "{}", stdout(&doctor));
        assert!(stdout(&doctor).contains("CAP_BPF"), "{}", stdout(&doctor));
        let doctor = finish(&mut as_nobody(world, &["doctor", "--json"]));
        assert_eq!(doctor.status.code(), Some(2));
        serde_json::from_slice::<Value>(&doctor.stdout).expect("JSON");
        let detach = finish(&mut as_nobody(world, &["detach"]));
        assert!(matches!(detach.status.code(), Some(0 | 2)), "{}", stderr(&detach));
    });
}

#[test]
fn refuses_to_watch_its_own_port() {
    in_world(|world| {
        let path = world.path("own.yaml");
        fs::write(&path, "ports:\n  - 7\n  - 10948\n").expect("written");
        let output = finish(ghostport().args(["run", "--config"]).arg(&path));
        assert_eq!(output.status.code(), Some(1));
        let message = only_error(&output);
        assert!(message.contains("own.yaml:3:5: "), "{message}");
        assert!(message.contains("127.0.0.1:10948"), "{message}");

        fs::write(&path, "ports: [7]\n").expect("written");
        let mut command = ghostport();
        command.args(["run", "--web.listen-address", "127.0.0.1:7", "--config"]).arg(&path);
        let output = finish(&mut command);
        assert_eq!(output.status.code(), Some(1));
        let message = only_error(&output);
        assert!(message.contains("127.0.0.1:7"), "{message}");
    });
}

/// Text, place, and a word of what was expected.
const BROKEN: &[(&str, &str, &str)] = &[
    ("ports: [1\n", "1:", "YAML"),
    ("ports: [1, x]\n", "1:12", "1 to 65535"),
    ("ports:\n  - 0\n", "2:5", "1 to 65535"),
    ("ports:\n  - 80\n  - 65536\n", "3:5", "1 to 65535"),
    ("ports: [80, 80]\n", "1:13", "once"),
    ("ports: 80\n", "1:8", "list"),
    ("port: [80]\n", "1:1", "ports"),
    ("interfaces:\n  includ: [eth0]\n", "2:3", "include"),
    ("interfaces:\n  mode: fast\n", "2:9", "xdp-native"),
    ("bind: {mechanism: magic}\n", "1:19", "tracepoint"),
    ("ports: [80]\nports: [81]\n", "2:1", "once"),
    ("web: {listen: [localhost]}\n", "1:16", "address"),
    ("sinks: [{kind: carrier-pigeon}]\n", "1:16", "stdout"),
];

#[test]
fn reports_configuration_errors_with_line_and_column() {
    in_world(|world| {
        let path = world.path("broken.yaml");
        for (text, place, expected) in BROKEN {
            fs::write(&path, text).expect("written");
            let mut messages = Vec::new();
            for (arguments, code) in [(&["config", "check"][..], 2), (&["run"], 1)] {
                let output = finish(ghostport().args(arguments).arg("--config").arg(&path));
                assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
                let message = only_error(&output);
                let place = format!("{}:{place}", path.display());
                assert!(message.contains(&place), "{text}: {message}");
                let (_, wanted) = message.split_once("expected").expect(&message);
                assert!(wanted.contains(expected), "{text}: {message}");
                messages.push(message);
            }
            assert_eq!(messages[0], messages[1]);
        }
        let output = finish(ghostport().args(["config", "check", "--config", "/nowhere.yaml"]));
        assert_eq!(output.status.code(), Some(2));
        assert!(only_error(&output).contains("/nowhere.yaml"));
        let path = config().write(world);
        let output = finish(ghostport().args(["config", "check", "--config"]).arg(&path));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    });
}

#[test]
fn keeps_the_configuration_when_a_reload_fails() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        let path = config().write(world);
        fs::write(&path, "ports: [nonsense]\n").expect("written");
        assert!(!agent.reload());
        assert!(agent.log().contains("ghostport.yaml:1:9"), "{}", agent.log());
        bind_watched();
        assert_eq!(binds(&agent), 1);
        assert_eq!(agent.get("/readyz").status, 200);
        config().write(world);
        assert!(agent.reload());
        assert_eq!(binds(&agent), 1);
        fs::remove_file(&path).expect("removed");
        assert!(!agent.reload(), "a file that was named must be there");
        bind_watched();
        assert_eq!(binds(&agent), 2);
    });
}
