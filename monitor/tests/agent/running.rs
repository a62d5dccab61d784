//! The agent as its operator meets it: what it serves, what it refuses, and how it says so.

use std::{
    collections::BTreeSet,
    fs,
    net::{TcpListener, UdpSocket},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use testkit::{
    agent::{Agent, Config, LISTEN, binary, finish, ghostport, stderr, stdout},
    eventually,
    frames::plain_udp,
    metrics::Metrics,
    wire::Wire,
    world::{Peer, World, in_world, port},
};

const NOBODY: u32 = 65534;

fn watched() -> u16 {
    port(0)
}

fn config() -> Config {
    Config::new([watched()]).on(&["lo"])
}

fn bind_watched() {
    drop(UdpSocket::bind(("127.0.0.1", watched())).expect("bound"));
}

fn binds(agent: &Agent) -> u64 {
    let port = watched().to_string();
    agent.metrics().sum("ghostport_binds_total", &[("port", &port)])
}

#[test]
fn reports_the_outcome_of_the_last_selftest() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        let told = || {
            let metrics = agent.metrics();
            let value = |name: &str| metrics.value(name, &[]);
            (value("ghostport_selftest_success"), value("ghostport_selftest_timestamp_seconds"))
        };
        assert_eq!(told(), (0.0, 0.0), "there was none");
        let output = finish(ghostport().arg("selftest"));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let (success, time) = told();
        assert_eq!(success, 1.0);
        assert!(time > 1.7e9, "{time}");
    });
}

/// An agent with a file that says nothing: the defaults.
#[test]
fn watches_the_five_ports_of_the_defaults() {
    in_world(|world| {
        let metrics = first_scrape(world, "");
        let labels = metrics.series.iter().filter_map(|(_, labels, _)| labels.get("port"));
        let ports: BTreeSet<&str> = labels.map(String::as_str).collect();
        assert_eq!(ports, ["2923", "2948", "2949", "3716", "3717"].into());
        for port in ports {
            assert_eq!(metrics.value("ghostport_port_info", &[("port", port)]), 1.0, "{port}");
        }
    });
}

/// All but the ports are the defaults: a program of this machine may use the default ports.
#[test]
fn every_series_is_there_from_the_first_scrape() {
    const PROTOCOLS: [&str; 2] = ["tcp", "udp"];
    const DIRECTIONS: [&str; 2] = ["ingress", "egress"];
    let [ingress, local] = [("direction", "ingress"), ("side", "local")];
    in_world(|world| {
        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        let ports: [u16; 5] = std::array::from_fn(|offset| port(offset as u16));
        let metrics = first_scrape(world, &format!("ports: {ports:?}"));
        let ports = ports.map(|port| port.to_string());
        let of_ports =
            metrics.series.iter().filter(|(_, labels, _)| labels.contains_key("port")).count();
        assert!(of_ports <= 300, "{of_ports} series of ports");
        assert!(metrics.series.len() <= 320, "{} series", metrics.series.len());
        let zero = |name: &str, labels: &[(&str, &str)]| {
            assert_eq!(metrics.value(name, labels), 0.0, "{name}{labels:?}");
        };
        for port in ports.each_ref().map(|port| ("port", port.as_str())) {
            for interface in ["gp0", "lo"].map(|interface| ("interface", interface)) {
                zero("ghostport_connection_attempts_total", &[interface, port, ingress, local]);
                for protocol in PROTOCOLS.map(|protocol| ("protocol", protocol)) {
                    let labels = [interface, port, protocol, ingress, local];
                    zero("ghostport_packets_total", &labels);
                    zero("ghostport_bytes_total", &labels);
                }
            }
            for protocol in PROTOCOLS.map(|protocol| ("protocol", protocol)) {
                assert!(metrics.has("ghostport_closes_total", &[port, protocol]));
                for result in ["success", "in_use", "denied", "error"] {
                    let labels = [port, protocol, ("result", result)];
                    assert!(metrics.has("ghostport_binds_total", &labels), "{labels:?}");
                }
            }
            assert!(metrics.has("ghostport_listens_total", &[port]));
            assert_eq!(metrics.value("ghostport_dormant", &[port]), 1.0);
            for state in [
                "quiet",
                "transit",
                "probed",
                "attempted",
                "outbound",
                "bound",
                "answered",
                "served",
            ] {
                let holds = metrics.value("ghostport_port_state", &[port, ("state", state)]);
                assert_eq!(holds == 1.0, state == "quiet", "{port:?} {state}");
            }
            for cause in ["packet", "bind"] {
                zero("ghostport_awakenings_total", &[port, ("cause", cause)]);
            }
            for protocol in PROTOCOLS.map(|protocol| ("protocol", protocol)) {
                for name in [
                    "ghostport_unexpected_binds_total",
                    "ghostport_bound_sockets",
                    "ghostport_last_packet_timestamp_seconds",
                    "ghostport_last_bind_timestamp_seconds",
                ] {
                    zero(name, &[port, protocol]);
                }
            }
        }
        for direction in DIRECTIONS.map(|direction| ("direction", direction)) {
            for cause in ["fragment", "truncated", "extension_headers", "vlan_tags", "malformed"] {
                for interface in ["gp0", "lo"].map(|interface| ("interface", interface)) {
                    let labels = [interface, direction, ("cause", cause)];
                    zero("ghostport_unclassified_packets_total", &labels);
                }
            }
        }
        for stage in ["ring", "queue", "sink"] {
            zero("ghostport_events_lost_total", &[("stage", stage)]);
        }
        // Other traffic has series from its first packet on.
        for name in ["packets", "bytes", "connection_attempts"] {
            let name = format!("ghostport_{name}_total");
            for label in [("direction", "egress"), ("side", "remote")] {
                assert!(!metrics.has(&name, &[label]), "{name} {label:?}");
            }
        }
        assert!(metrics.has("ghostport_kernel_errors_total", &[]));
        // A preemptible kernel may miss a call of any process on the machine.
        let missed = metrics.sum("ghostport_kernel_errors_total", &[("cause", "call_missed")]);
        assert_eq!(metrics.sum("ghostport_kernel_errors_total", &[]), missed);
        for name in ["ghostport_build_info", "ghostport_config_reload_success"] {
            assert_eq!(metrics.value(name, &[]), 1.0, "{name}");
        }
        for name in ["ghostport_map_entries", "ghostport_map_capacity"] {
            assert!(metrics.has(name, &[]), "{name}");
        }
        assert!(metrics.value("ghostport_config_reload_timestamp_seconds", &[]) > 1e9);
        assert!(metrics.value("process_start_time_seconds", &[]) > 1e9);
        assert!(metrics.value("process_resident_memory_bytes", &[]) > 0.0);
        assert_described(&metrics);
    });
}

/// What an agent with this configuration, at the usual address, says at first.
fn first_scrape(world: &World, config: &str) -> Metrics {
    let path = world.path("defaults.yaml");
    fs::write(&path, config).expect("written");
    let mut child = ghostport()
        .args(["run", "--config"])
        .arg(&path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("spawned");
    let server = ([127, 0, 0, 1], LISTEN).into();
    let response = eventually("the first scrape", || {
        testkit::http::get(server, "/readyz").ok().filter(|ready| ready.status == 200)?;
        testkit::http::get(server, "/metrics").ok()
    });
    child.kill().expect("killed");
    child.wait().expect("waited");
    assert_eq!(response.status, 200);
    let kind = response.header("content-type").expect("a content type");
    assert!(kind.starts_with("text/plain") && kind.contains("version=0.0.4"), "{kind}");
    Metrics::parse(response.body)
}

/// Every family has its HELP and TYPE, once, before its series, which stand together.
fn assert_described(metrics: &Metrics) {
    let mut families: Vec<&str> = Vec::new();
    for line in metrics.text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "HELP", name, help] => {
                assert!(!families.contains(name), "{name} twice");
                assert!(help.len() > 10, "{line}");
                families.push(name);
            }
            ["#", "TYPE", name, kind] => {
                assert_eq!(families.last(), Some(name), "TYPE without HELP");
                let is_counter = name.ends_with("_total");
                assert_eq!(*kind, if is_counter { "counter" } else { "gauge" }, "{name}");
            }
            _ => {
                let name = line.split(['{', ' ']).next().unwrap_or_default();
                assert_eq!(families.last(), Some(&name), "{line}");
            }
        }
    }
    assert!(metrics.text.ends_with('\n'));
}

/// Zeros of thousands of ports would be noise.
#[test]
fn leaves_quiet_ports_out_when_there_are_many() {
    in_world(|world| {
        let many = (0..80).map(port).chain(1000..1100);
        let agent = Agent::start(world, &Config::new(many).on(&["lo"]));
        let watched = watched().to_string();
        let on_port = [("port", watched.as_str())];
        let metrics = agent.metrics();
        for name in ["ghostport_packets_total", "ghostport_binds_total"] {
            assert!(!metrics.has(name, &on_port), "{name}");
        }
        Wire::open("lo").send(&plain_udp(port(90), port(0)));
        bind_watched();
        let metrics = agent.metrics();
        assert_eq!(metrics.sum("ghostport_packets_total", &on_port), 2);
        assert_eq!(metrics.sum("ghostport_binds_total", &on_port), 1);
        assert!(!metrics.has("ghostport_packets_total", &[("port", "1000")]));
    });
}

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

/// The one message of a command that failed: the last line, and no other that complains.
#[track_caller]
fn only_error(output: &Output) -> String {
    let said = stderr(output);
    let complaints: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("ghostport:") || line.contains("ERROR"))
        .collect();
    assert_eq!(complaints.len(), 1, "{said}");
    assert_eq!(said.lines().last(), Some(complaints[0]), "{said}");
    complaints[0].to_owned()
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

/// A copy of the binary where every user can reach it, to be run without privileges.
fn as_nobody(world: &World, arguments: &[&str]) -> Command {
    let copy = world.path("ghostport");
    if !copy.exists() {
        fs::copy(binary(), &copy).expect("copied");
    }
    let mut command = Command::new(copy);
    command.args(arguments).stdin(Stdio::null()).env("NO_COLOR", "1").uid(NOBODY).gid(NOBODY);
    command
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
        let hooks: Vec<&str> = events
            .iter()
            .filter(|event| event["event.name"] == "ghostport.hook_changed")
            .filter_map(|event| event["ghostport.hook"].as_str())
            .collect();
        for hook in ["bind", "listen", "close", "ingress", "egress"] {
            assert!(hooks.contains(&hook), "{hook}: {hooks:?}");
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
        assert!(UdpSocket::bind(("192.0.2.1", watched())).is_err());
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
            for hook in ["ingress", "egress", "bind", "listen", "close"] {
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

/// In the host's own namespaces, and beside a running agent: it leaves both alone.
#[test]
fn selftest_observes_its_own_traffic() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        let before = agent.metrics().traffic();
        let selftest = finish(ghostport().arg("selftest"));
        assert_eq!(selftest.status.code(), Some(0), "{}", stderr(&selftest));
        for line in ["a bind", "a packet received", "a packet sent"] {
            let said = stdout(&selftest);
            let line = said.lines().find(|said| said.trim_start().starts_with(line));
            assert!(line.is_some_and(|line| !line.ends_with("nothing")), "{said}");
        }
        assert_eq!(agent.metrics().traffic(), before, "a packet in our namespace");
        assert_eq!(agent.terminate().code(), Some(0));

        let refused = finish(ghostport().arg("selftest").uid(65534));
        assert_eq!(refused.status.code(), Some(1));
        assert!(only_error(&refused).contains("CAP_SYS_ADMIN"), "{}", stderr(&refused));
    });
}
