//! A reload takes the whole configuration, or leaves the old one in force as a whole.

use std::{collections::BTreeSet, fs, net::UdpSocket, thread, time::Duration};

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use testkit::{
    agent::{Agent, Config},
    eventually,
    world::{World, in_world, port},
};

const REFUSED: &str = "the old configuration stays in force";

/// One watched port.
fn old() -> Config {
    Config::new([port(0)]).on(&["lo"])
}

/// More ports, for which the kernel side has no room yet, and another sink.
fn new(world: &World) -> Config {
    let sink = format!("{{kind: file, path: {}}}", world.path("other.jsonl").display());
    let ports = [port(0), port(1)].into_iter().chain(40_000..42_000);
    Config::new(ports).on(&["lo"]).with_sinks([sink])
}

fn bind(offset: u16) {
    drop(UdpSocket::bind(("127.0.0.1", port(offset))).expect("bound"));
}

fn binds(agent: &Agent, offset: u16) -> u64 {
    let port = port(offset).to_string();
    agent.metrics().sum("ghostport_binds_total", &[("port", &port)])
}

/// Checks that the agent works by [`old`], and that this is what it says.
#[track_caller]
fn assert_unchanged(world: &World, agent: &Agent) {
    assert_eq!(agent.metrics().value("ghostport_config_reload_success", &[]), 0.0);
    assert!(agent.log().contains(REFUSED), "{}", agent.log());
    let before = binds(agent, 0);
    bind(0);
    bind(1);
    let events = agent.socket_events();
    let is_of = |event: &serde_json::Value, offset| {
        event["network.local.port"].as_u64() == Some(port(offset).into())
    };
    assert!(events.iter().any(|event| is_of(event, 0)), "the old port is watched: {events:?}");
    assert!(!events.iter().any(|event| is_of(event, 1)), "the new one is not: {events:?}");
    assert_eq!((binds(agent, 0), binds(agent, 1)), (before + 1, 0));
    let other = fs::read_to_string(world.path("other.jsonl")).unwrap_or_default();
    assert_eq!(other, "", "the new sink gets nothing");
}

/// Checks that the configuration [`new`] is taken.
#[track_caller]
fn assert_reloads(world: &World, agent: &Agent) {
    new(world).write(world);
    assert!(agent.reload(), "{}", agent.log());
    bind(1);
    assert_eq!(binds(agent, 1), 1);
    eventually("an event in the new sink", || {
        let other = fs::read_to_string(world.path("other.jsonl")).unwrap_or_default();
        other.contains(&format!("\"network.local.port\":{}", port(1))).then_some(())
    });
}

/// Leaves room for `free` further descriptors in the agent, and returns the limit before.
fn limit_descriptors(agent: &Agent, free: u32) -> Rlimit {
    let open = || -> BTreeSet<u32> {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", agent.pid())).expect("descriptors");
        let names = descriptors.map(|entry| entry.expect("an entry").file_name());
        names.map(|name| name.to_string_lossy().parse().expect("a number")).collect()
    };
    // A scan of sockets has some for a moment.
    let lasting = (0..10).map(|_| {
        thread::sleep(Duration::from_millis(50));
        open()
    });
    let lasting = lasting.reduce(|some, others| &some & &others).expect("descriptors");
    let free_below = |limit: u32| limit - lasting.range(..limit).count() as u32;
    let limit = (0..).find(|limit| free_below(*limit) == free).expect("a limit");
    set_limit(agent, |before| Rlimit { current: Some(limit.into()), ..before })
}

fn set_limit(agent: &Agent, change: impl Fn(Rlimit) -> Rlimit) -> Rlimit {
    let pid = Pid::from_raw(agent.pid().cast_signed());
    let text = fs::read_to_string(format!("/proc/{}/limits", agent.pid())).expect("limits");
    let line = text.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    let mut numbers = line.split_ascii_whitespace().filter_map(|word| word.parse().ok());
    let before = Rlimit { current: numbers.next(), maximum: numbers.next() };
    prlimit(pid, Resource::Nofile, change(before)).expect("limited")
}

#[test]
fn keeps_sinks_and_ports_where_the_kernel_refuses_counters() {
    in_world(|world| {
        let agent = Agent::start(world, &old());
        new(world).write(world);
        // One for the sink and one for the socket counters: the traffic counters get none.
        let before = limit_descriptors(&agent, 2);
        agent.signal(Signal::HUP);
        eventually("a refusal", || agent.log().contains(REFUSED).then_some(()));
        set_limit(&agent, |_| before);
        let log = agent.log();
        assert!(log.contains("the kernel refuses to watch these ports"), "{log}");
        assert_unchanged(world, &agent);
        assert_reloads(world, &agent);
    });
}

#[test]
fn keeps_sinks_and_ports_where_a_sink_cannot_be_opened() {
    in_world(|world| {
        let agent = Agent::start(world, &old());
        let mut next = new(world);
        next.sinks.push("{kind: file, path: /proc/nowhere/events.jsonl}".to_owned());
        next.write(world);
        assert!(!agent.reload());
        assert!(agent.log().contains("/proc/nowhere/events.jsonl"), "{}", agent.log());
        assert_unchanged(world, &agent);
        assert_reloads(world, &agent);
    });
}

#[test]
fn keeps_everything_where_the_web_configuration_is_broken() {
    in_world(|world| {
        let file = world.path("web.yml");
        let keys = format!("config_file: {}", file.display());
        fs::write(&file, "http_server_config: {headers: {X-Frame-Options: deny}}")
            .expect("written");
        let agent = Agent::start(world, &old().with_web_keys(&keys));
        fs::write(&file, "tls_server_config: {cert_file: nowhere.crt, key_file: nowhere.key}")
            .expect("written");
        new(world).with_web_keys(&keys).write(world);
        assert!(!agent.reload());
        assert!(agent.log().contains("nowhere.crt"), "{}", agent.log());
        let answer = agent.get("/healthz");
        assert_eq!(answer.header("x-frame-options"), Some("deny"), "{answer:?}");
        assert_unchanged(world, &agent);
        fs::write(&file, "{}").expect("written");
        new(world).with_web_keys(&keys).write(world);
        assert!(agent.reload(), "{}", agent.log());
        bind(1);
        assert_eq!(binds(&agent, 1), 1);
    });
}

#[test]
fn refuses_a_broken_web_configuration_that_the_next_start_would_read() {
    in_world(|world| {
        let agent = Agent::start(world, &old());
        let file = world.path("web.yml");
        fs::write(&file, "basic_auth_users: {me: secret}").expect("written");
        new(world).with_web_keys(&format!("config_file: {}", file.display())).write(world);
        assert!(!agent.reload());
        assert!(agent.log().contains("this is no bcrypt hash"), "{}", agent.log());
        assert_unchanged(world, &agent);
        assert_reloads(world, &agent);
    });
}
