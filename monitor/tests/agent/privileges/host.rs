//! Hosts that lack a filesystem or the kernel's types, and pins of another user.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
};

use serde_json::Value;
use testkit::{
    agent::{Agent, Config},
    privileges::{Privileges, SOMEBODY},
    sh,
    world::{World, in_world},
};

use super::{
    doctor::Doctor,
    support::{
        EVERYTHING, PINS, ROOT, SUCCESSES, Seen, assert_given_up, assert_sees, assert_works_on,
        config, is_guest, start, watched,
    },
};

/// A name may be an escape sequence.
#[test]
fn doctor_escapes_the_names_of_interfaces() {
    in_world(|world| {
        sh("ip link add gp\u{1b}[2J\u{202e} type veth peer name peer0");
        let _agent = Agent::start(world, &Config::new([watched()]).on(&["gp*"]));
        let doctor = Doctor::of_root();
        assert!(doctor.text.contains(r"gp\u{1b}[2J\u{202e}"), "{}", doctor.text);
        assert!(!doctor.text.contains(['\u{1b}', '\u{202e}']), "{:?}", doctor.text);
    });
}

#[test]
fn doctor_reports_a_missing_bpf_filesystem() {
    in_world(|world| {
        world.without_bpffs();
        for running in [false, true] {
            let agent = running.then(|| Agent::start(world, &config()));
            let doctor = Doctor::of_root();
            assert_eq!(doctor.code, 1, "{}", doctor.text);
            assert_eq!(doctor.page["agent"]["running"], running);
            let remedy = &doctor.fact("bpffs")["remedy"];
            assert_eq!(remedy, "mount -t bpf bpf /sys/fs/bpf");
            doctor.assert_tells(EVERYTHING);
            if let Some(agent) = agent {
                assert_sees(&agent, EVERYTHING);
                assert_given_up(&agent, Privileges::five(ROOT).capabilities(), true);
            }
        }
    });
}

/// As systemd mounts it: root's own.
#[test]
fn tells_a_user_how_to_get_a_pin_folder() {
    in_world(|world| {
        world.give_to(SOMEBODY);
        fs::remove_dir(PINS).expect("removed");
        let agent = start(world, Privileges::usual(SOMEBODY));
        let log = agent.log();
        assert!(log.contains("install -d -m 0700 -o 4711 /sys/fs/bpf/ghostport"), "{log}");
        assert_sees(&agent, EVERYTHING);
        let assert_told = |is_running: bool| {
            let doctor = Doctor::of(world, Privileges::usual(SOMEBODY));
            assert_eq!(doctor.page["agent"]["running"], is_running);
            let remedy = doctor.fact("bpffs")["remedy"].as_str().expect("a remedy");
            assert!(remedy.contains("install -d"), "{remedy}");
            assert_eq!(doctor.code, 1, "{}", doctor.text);
        };
        assert_told(true);
        agent.kill9();
        assert_told(false);
    });
}

#[test]
fn root_adopts_the_pins_of_a_user() {
    in_world(|world| {
        world.give_to(SOMEBODY);
        let agent = start(world, Privileges::usual(SOMEBODY));
        assert_sees(&agent, EVERYTHING);
        agent.kill9();
        world.give_files_to(ROOT);
        let agent = Agent::start(world, &config());
        assert_eq!(agent.metrics().sum("ghostport_packets_total", &[]), 2, "{}", agent.log());
        assert_given_up(&agent, Privileges::five(ROOT).capabilities(), true);
        assert_sees(&agent, EVERYTHING);
        assert_works_on(world, agent);
    });
}

#[test]
fn root_keeps_every_hook_without_tracefs() {
    in_world(|world| {
        world.without_tracefs();
        let doctor = Doctor::of_root();
        assert!(doctor.is_ok("tracefs"), "{}", doctor.text);
        doctor.assert_tells(EVERYTHING);
        let agent = Agent::start(world, &config());
        assert_given_up(&agent, Privileges::five(ROOT).capabilities(), true);
        assert_sees(&agent, EVERYTHING);
    });
}

#[test]
fn a_user_keeps_hooks_that_need_no_tracefs() {
    in_world(|world| {
        world.without_tracefs();
        world.give_to(SOMEBODY);
        let doctor = Doctor::of(world, Privileges::usual(SOMEBODY));
        let seen = if is_guest() { EVERYTHING } else { Seen { refusals: false, ..EVERYTHING } };
        assert_eq!(doctor.is_ok("tracefs"), is_guest(), "{}", doctor.text);
        doctor.assert_tells(seen);
        assert_sees(&start(world, Privileges::usual(SOMEBODY)), seen);
    });
}

#[test]
fn doctor_reports_a_missing_unified_hierarchy() {
    in_world(|world| {
        world.without_cgroup2();
        assert_on_cgroup_v1(world);
    });
}

/// The kernel may have been built without types, or its file be hidden from a container.
#[test]
fn hooks_report_what_they_can_without_btf() {
    in_world(|world| {
        world.without_btf();
        let doctor = Doctor::of_root();
        assert_eq!(doctor.code, 1, "{}", doctor.text);
        assert!(!doctor.is_ok("BTF"), "{}", doctor.text);
        doctor.assert_tells(SUCCESSES);
        let agent = Agent::start(world, &config());
        let mechanism = |hook| agent.metrics().mechanism(hook, None).expect("a mechanism");
        assert_eq!(mechanism("bind"), "cgroup-success");
        assert_eq!(mechanism("listen"), "state-change");
        assert_sees(&agent, SUCCESSES);
        assert_tells_without_types(&agent);
    });
}

/// Addresses and ports come from the hooks, IPv6 as well, and with the caller's name and user.
#[track_caller]
fn assert_tells_without_types(agent: &Agent) {
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, watched()));
    drop(TcpListener::bind(address).expect("a listener"));
    let wildcard = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, watched())).expect("a socket");
    let events = agent.socket_events();
    let find = |name: &str, address: &str| {
        let found = events
            .iter()
            .find(|event| event["event.name"] == name && event["network.local.address"] == address);
        found.unwrap_or_else(|| panic!("no {name} of {address}: {events:#?}"))
    };
    for kind in ["bind", "listen", "close"] {
        let event = find(&format!("ghostport.{kind}"), "::1");
        assert_eq!(event["network.local.port"], watched(), "{event}");
        assert_eq!(event["network.transport"], "tcp", "{event}");
        assert_eq!(event["network.type"], "ipv6", "{event}");
        assert_eq!(event["process.pid"], std::process::id(), "{event}");
        assert_eq!(event["process.real_user.id"], 0, "{event}");
        // The kernel side could not read the parent; /proc has it.
        assert_eq!(event["process.parent_pid"], std::os::unix::process::parent_id(), "{event}");
        assert!(event.get("ghostport.netns_inode").is_none(), "{event}");
    }
    let event = find("ghostport.bind", "0.0.0.0");
    assert_eq!(event["network.transport"], "udp", "{event}");
    drop(wildcard);
}

/// fexit sees everything; where there is none, tracepoints see what goes through system calls, and
/// no socket but a listener that is closed.
#[track_caller]
fn assert_on_cgroup_v1(world: &World) {
    let doctor = Doctor::of_root();
    assert_eq!(doctor.is_ok("cgroup2"), is_guest(), "{}", doctor.text);
    let agent = Agent::start(world, &config());
    let bind = agent.metrics().mechanism("bind", None);
    if is_guest() {
        assert_eq!(bind.as_deref(), Some("fexit"));
        assert_eq!(doctor.code, 0, "{}", doctor.text);
        assert_sees(&agent, EVERYTHING);
    } else {
        assert_eq!(bind.as_deref(), Some("tracepoint"));
        assert_eq!(doctor.code, 1, "{}", doctor.text);
        assert!(doctor.text.contains("mount -t cgroup2"), "{}", doctor.text);
    }
    drop(agent);
    // Forced, and so without a rung.
    let agent = Agent::start(world, &config().mechanism("cgroup"));
    assert_eq!(agent.metrics().mechanism("bind", None), None);
    assert!(agent.log().contains("no cgroup2 filesystem is mounted"), "{}", agent.log());
}

/// A restart takes hooks over, and with them the reasons why they are no better.
#[test]
fn a_reason_for_rejection_survives_a_restart() {
    in_world(|world| {
        let reasons = |doctor: &Doctor| {
            let hooks = doctor.page["hooks"].as_array().expect("hooks").clone();
            let told: Vec<Value> =
                hooks.into_iter().map(|hook| hook["passed_over"].clone()).collect();
            Value::from(told)
        };
        let agent = Agent::start(world, &config());
        let first = reasons(&Doctor::of_root());
        assert!(first.to_string().contains("xdp-native"), "lo has none: {first}");
        agent.kill9();
        let agent = Agent::start(world, &config());
        assert_eq!(reasons(&Doctor::of_root()), first);
        let log = agent.log();
        let adopted = log.lines().filter(|line| line.contains("adopted=true"));
        let ingress: Vec<&str> = adopted.filter(|line| line.contains("hook=ingress")).collect();
        assert_eq!(ingress.len(), 1, "{log}");
        assert!(ingress[0].contains("xdp-native: the driver"), "{log}");
        agent.kill9();

        // Without the record, the agent says that it is missing and gives no reason of its own.
        fs::remove_dir_all("/run/ghostport").expect("removed");
        let agent = Agent::start(world, &config());
        let lost = reasons(&Doctor::of_root()).to_string();
        assert!(lost.contains("its reasons are lost"), "{lost}");
        assert_eq!(agent.terminate().code(), Some(0));
        let left = fs::read_dir("/run/ghostport").map_or(0, Iterator::count);
        assert_eq!(left, 0, "a record of hooks that are gone");
    });
}

#[test]
#[ignore = "wants a machine without cgroup2"]
fn cgroup_v1() {
    in_world(|world| {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
        let has = |kind: &str| mounts.lines().any(|line| line.split(' ').nth(2) == Some(kind));
        assert!(has("cgroup") && !has("cgroup2"), "not such a machine: {mounts}");
        assert_on_cgroup_v1(world);
    });
}
