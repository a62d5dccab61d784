//! What a running agent serves and reports, also where the host lacks something.

use std::{
    fs,
    net::UdpSocket,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::Value;
use testkit::{
    agent::{Agent, LISTEN, binary, finish, ghostport, stderr, stdout},
    eventually,
    frames::plain_udp,
    wire::Wire,
    world::{in_world, port},
};

use super::support::{bind_watched, binds, config, watched};

#[test]
fn answers_each_route_with_its_status() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        assert_eq!(agent.get("/healthz").status, 200);
        assert_eq!(agent.get("/readyz").status, 200);
        assert_eq!(agent.get("/nothing/here").status, 404);
        assert_eq!(agent.get("/metrics/").status, 404);
    });
}

#[test]
fn reopens_the_event_file_after_rotation() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        bind_watched();
        assert!(!agent.socket_events().is_empty());
        let (path, moved) = (world.path("events.jsonl"), world.path("events.jsonl.1"));
        fs::rename(&path, &moved).expect("moved");
        assert!(agent.reload());
        let before = fs::read_to_string(&moved).expect("a file");
        bind_watched();
        let events = agent.socket_events();
        assert_eq!(events[0]["event.name"], "ghostport.bind");
        assert_eq!(fs::read_to_string(&moved).expect("a file"), before);
    });
}

#[test]
fn emits_events_about_its_own_start_and_stop() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        assert_eq!(agent.terminate().code(), Some(0));
        let text = fs::read_to_string(world.path("events.jsonl")).expect("a file");
        let events: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        let count = |name: &str| events.iter().filter(|event| event["event.name"] == name).count();
        assert_eq!(count("ghostport.agent_started"), 1);
        assert_eq!(count("ghostport.agent_stopped"), 1);
        assert_eq!(count("ghostport.hook_changed"), 0, "a start is no change");
        let started = events.iter().find(|event| event["event.name"] == "ghostport.agent_started");
        let hooks = started.and_then(|event| event["ghostport.hooks"].as_array()).expect("hooks");
        for hook in ["bind", "listen", "close", "connect", "ingress", "egress"] {
            let found = hooks.iter().find(|found| found["hook"] == hook).expect(hook);
            assert!(found["mechanism"].is_string(), "{found}");
            let has_interface = ["ingress", "egress"].contains(&hook);
            assert_eq!(found["interface"].is_string(), has_interface, "{found}");
        }
        for event in &events {
            assert_eq!(event["schema"], "ghostport.event/1");
            assert!(event["host.name"].is_string() && event["time"].is_string(), "{event}");
        }
    });
}

/// By default events go to standard output, and nothing else does.
#[test]
fn writes_nothing_but_events_to_standard_output() {
    in_world(|world| {
        let path = world.path("stdout.yaml");
        let ports = format!("ports: [{}]\nsinks: [{{kind: stdout}}]\n", watched());
        fs::write(&path, ports).expect("written");
        let out = fs::File::create(world.path("stdout")).expect("a file");
        let mut child = ghostport()
            .args(["run", "--config"])
            .arg(&path)
            .stdout(out)
            .stderr(Stdio::null())
            .spawn()
            .expect("spawned");
        let server = ([127, 0, 0, 1], LISTEN).into();
        eventually("readiness", || {
            testkit::http::get(server, "/readyz").ok().filter(|ready| ready.status == 200)
        });
        bind_watched();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, Signal::INT).expect("signalled");
        let status = eventually("its end", || child.try_wait().expect("waited"));
        assert_eq!(status.code(), Some(0), "SIGINT");
        let text = fs::read_to_string(world.path("stdout")).expect("a file");
        let events: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        let bind = events.iter().find(|event| event["event.name"] == "ghostport.bind");
        assert_eq!(bind.expect("a bind")["network.local.port"], watched());
    });
}

#[test]
fn runs_without_a_bpf_filesystem() {
    in_world(|world| {
        world.without_bpffs();
        let agent = Agent::start(world, &config());
        assert!(agent.log().contains("/sys/fs/bpf"), "{}", agent.log());
        bind_watched();
        assert_eq!(binds(&agent), 1);
        Wire::open("lo").send(&plain_udp(port(90), watched()));
        eventually("two packets", || {
            (agent.metrics().sum("ghostport_packets_total", &[]) == 2).then_some(())
        });
        assert_eq!(agent.socket_events()[0]["event.name"], "ghostport.bind");
        assert_eq!(agent.terminate().code(), Some(0));
        assert!(!Path::new("/sys/fs/bpf/ghostport").exists());
        let mounts = fs::read_to_string("/proc/thread-self/mounts").expect("mounts");
        assert!(!mounts.contains(" /sys/fs/bpf "), "it has mounted one: {mounts}");

        let doctor = finish(ghostport().arg("doctor"));
        assert!(stdout(&doctor).contains("/sys/fs/bpf"), "{}", stdout(&doctor));
        // Nothing of the first is left: the next starts at zero, and attaches again.
        let agent = Agent::start(world, &config());
        assert_eq!(binds(&agent), 0);
        agent.kill9();
        let agent = Agent::start(world, &config());
        bind_watched();
        assert_eq!(binds(&agent), 1);
    });
}

#[test]
fn traces_binds_without_tracefs() {
    in_world(|world| {
        world.without_tracefs();
        let agent = Agent::start(world, &config());
        bind_watched();
        assert!(UdpSocket::bind(("203.0.113.1", watched())).is_err());
        assert_eq!(binds(&agent), 2);
        assert!(!Path::new("/sys/kernel/tracing/events").exists(), "it has mounted it here");
    });
}

#[test]
fn doctor_reports_working_hooks() {
    in_world(|world| {
        for running in [false, true] {
            let _agent = running.then(|| Agent::start(world, &config()));
            let text = finish(ghostport().arg("doctor"));
            let code = text.status.code().expect("a code");
            assert!(code == 0 || code == 1, "{}{}", stdout(&text), stderr(&text));
            for hook in ["ingress", "egress", "bind", "listen", "close", "connect"] {
                assert!(stdout(&text).contains(hook), "{hook}: {}", stdout(&text));
            }
            assert!(!stdout(&text).contains('\x1b'), "colour where there is no terminal");
            let json = finish(ghostport().args(["doctor", "--json"]));
            assert_eq!(json.status.code(), Some(code));
            let page: Value = serde_json::from_slice(&json.stdout).expect("JSON");
            assert!(page["schema"].as_str().is_some_and(|s| s.starts_with("ghostport.doctor/")));
            let wanted = if code == 0 { "full" } else { "degraded" };
            assert_eq!(page["verdict"], wanted);
            assert_eq!(page["agent"]["running"], running);
        }
        // A look changes nothing.
        assert!(!fs::exists("/sys/fs/bpf/ghostport/links").expect("a look") || links() == 0);
    });
}

fn links() -> usize {
    let pins = fs::read_dir("/sys/fs/bpf/ghostport/links").into_iter().flatten().flatten();
    // The agent above was killed: what doctor must not add are hooks of its own.
    pins.filter(|pin| pin.file_name().to_string_lossy().contains("doctor")).count()
}

#[test]
fn runs_as_one_process_and_leaves_none() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        bind_watched();
        assert_eq!(world.inhabitants(), [agent.pid()], "an agent is one process");
        assert_eq!(agent.terminate().code(), Some(0));
        assert_eq!(world.inhabitants(), [0; 0]);
    });
}

/// A client that connects and sends nothing must not keep others from their metrics.
#[test]
fn serves_others_beside_a_silent_client() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        let silent: Vec<_> = (0..20)
            .map(|_| std::net::TcpStream::connect(("127.0.0.1", LISTEN)).expect("connected"))
            .collect();
        thread::sleep(Duration::from_millis(50));
        assert_eq!(binds(&agent), 0);
        drop(silent);
        assert_eq!(agent.terminate().code(), Some(0));
    });
}

/// A time namespace shifts the clocks of the agent, and what `/proc` shows it, but not the kernel side.
#[test]
fn events_have_their_time_in_a_time_namespace() {
    in_world(|world| {
        let mut command = Command::new("unshare");
        command.args(["--time", "--boottime", "100000", "--monotonic", "50000", "--fork"]);
        command.arg("--kill-child").arg(binary()).arg("run");
        let before = Timestamp::now();
        let agent = Agent::launch(world, &config(), command);
        bind_watched();
        let events = agent.socket_events();
        let bind = events.iter().find(|event| event["event.name"] == "ghostport.bind");
        let bind = bind.unwrap_or_else(|| panic!("no bind: {events:#?}"));
        let time = |key: &str| -> Timestamp {
            bind[key].as_str().and_then(|time| time.parse().ok()).expect("a time")
        };
        let now = Timestamp::now();
        assert!((before..now).contains(&time("time")), "{bind}");
        let created = time("process.creation.time");
        assert!(created < before && before.duration_since(created).as_secs() < 86_400, "{bind}");
        // Found in /proc by its start.
        assert!(bind["process.executable.path"].is_string(), "{bind}");
    });
}
