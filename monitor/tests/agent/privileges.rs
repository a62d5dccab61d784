//! The agent with few privileges, and on kernels that are configured to refuse it. The agent uses the
//! best set of hooks that works there, and `doctor` says what is missing and how to get it.
//!
//! Tests that are ignored want a machine that was started in a certain way; `cargo xtask vm` has
//! one for each.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    path::Path,
    process::{Command, Output},
};

use rustix::thread::CapabilitySet;
use serde_json::Value;
use testkit::{
    agent::{Agent, Config, LISTEN, finish, ghostport, stderr, stdout},
    eventually,
    frames::plain_udp,
    privileges::{FIVE, Privileges, SOMEBODY, ThreadStatus, charges_memlock},
    programs::has_tcx,
    sh,
    wire::Wire,
    world::{Peer, World, in_world, port},
};

const ROOT: u32 = 0;
const PINS: &str = "/sys/fs/bpf/ghostport";
const TRAFFIC: [&str; 2] = ["ingress", "egress"];
const SOCKETS: [&str; 3] = ["bind", "listen", "close"];

fn watched() -> u16 {
    port(0)
}

fn config() -> Config {
    Config::new([watched()]).on(&["lo", "gp*"])
}

/// Whether this is one of the kernels of `cargo xtask vm`, which refuse nothing by themselves.
fn is_guest() -> bool {
    rustix::system::uname().release().to_string_lossy().contains("-cloud-amd64")
}

/// What an agent is expected to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    traffic: bool,
    successes: bool,
    refusals: bool,
    /// Closes of UDP sockets.
    closes: bool,
    /// TCP sockets that listen.
    listens: bool,
}

impl Seen {
    /// Whether a hook on sockets is served.
    fn has(self, hook: &str) -> bool {
        if hook == "bind" { self.successes } else { self.listens }
    }
}

const EVERYTHING: Seen =
    Seen { traffic: true, successes: true, refusals: true, closes: true, listens: true };
/// What is left where no program reads a socket.
const SUCCESSES: Seen =
    Seen { traffic: true, successes: true, refusals: false, closes: false, listens: true };

/// Sends a packet and binds twice, once in vain, and checks that just what should be is counted.
#[track_caller]
fn assert_sees(agent: &Agent, seen: Seen) {
    let port = watched().to_string();
    let on_port = ("port", port.as_str());
    let packets = || agent.metrics().sum("ghostport_packets_total", &[on_port]);
    let binds =
        |result| agent.metrics().sum("ghostport_binds_total", &[on_port, ("result", result)]);
    let closes = || agent.metrics().sum("ghostport_closes_total", &[on_port]);
    let before = (packets(), binds("success"), binds("error"), closes());
    Wire::open("lo").send(&plain_udp(watched() + 1, watched()));
    drop(UdpSocket::bind(("127.0.0.1", watched())).expect("bound"));
    assert!(UdpSocket::bind(("192.0.2.1", watched())).is_err(), "an address of another host");
    let expected = (
        before.0 + 2 * u64::from(seen.traffic),
        before.1 + u64::from(seen.successes),
        before.2 + u64::from(seen.refusals),
        before.3 + u64::from(seen.closes),
    );
    let now = || (packets(), binds("success"), binds("error"), closes());
    for _ in 0..100 {
        if now() == expected {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(now(), expected, "packets, binds, refused binds, closes: {}", agent.log());
    for hook in TRAFFIC {
        assert_eq!(agent.metrics().mechanism(hook, Some("lo")).is_some(), seen.traffic, "{hook}");
    }
    for hook in SOCKETS {
        assert_eq!(agent.metrics().mechanism(hook, None).is_some(), seen.has(hook), "{hook}");
    }
}

/// The mechanism of every hook.
fn mechanisms(agent: &Agent) -> BTreeMap<&'static str, Option<String>> {
    let metrics = agent.metrics();
    let traffic = TRAFFIC.map(|hook| (hook, metrics.mechanism(hook, Some("lo"))));
    let sockets = SOCKETS.map(|hook| (hook, metrics.mechanism(hook, None)));
    traffic.into_iter().chain(sockets).collect()
}

/// What doctor says: as text, as JSON, and by its exit code, which all must agree.
struct Doctor {
    text: String,
    page: Value,
    code: i32,
}

impl Doctor {
    #[track_caller]
    fn ask(command: impl Fn(&[&str]) -> Command) -> Self {
        let text = finish(&mut command(&["doctor"]));
        let json = finish(&mut command(&["doctor", "--json"]));
        let code = text.status.code().expect("a code");
        assert_eq!(json.status.code(), Some(code), "{}{}", stdout(&text), stdout(&json));
        let page: Value = serde_json::from_slice(&json.stdout).expect("JSON");
        let verdict = ["full", "degraded", "broken"][code as usize];
        assert_eq!(page["verdict"], verdict, "{}", stdout(&text));
        let text = stdout(&text);
        assert!(text.starts_with(&format!("ghostport doctor: {verdict}")), "{text}");
        // A long word has no place to break.
        let longest = |line: &str| line.split(' ').map(str::len).max().unwrap_or(0);
        let too_wide = text.lines().find(|line| line.chars().count() > 80 && longest(line) < 40);
        assert_eq!(too_wide, None);
        Self { text, page, code }
    }

    fn of_root() -> Self {
        Self::ask(|arguments| {
            let mut command = ghostport();
            command.args(arguments);
            command
        })
    }

    fn of(world: &World, privileges: Privileges) -> Self {
        Self::ask(|arguments| privileges.ghostport(world, arguments))
    }

    /// A fact by its name. Whatever is not well says what it costs and what to do, on the page as
    /// well.
    #[track_caller]
    fn fact(&self, name: &str) -> &Value {
        let facts = self.page["facts"].as_array().expect("facts");
        let fact = facts.iter().find(|fact| fact["name"] == name);
        let fact = fact.unwrap_or_else(|| panic!("no {name} in {}", self.text));
        assert!(self.text.contains(name), "{}", self.text);
        if fact["ok"] == false {
            let first = |key: &str| {
                let words = fact[key].as_str().unwrap_or_else(|| panic!("no {key}: {fact}"));
                words.split(' ').take(2).collect::<Vec<_>>().join(" ")
            };
            assert!(self.text.contains(&first("costs")), "{}", self.text);
            assert!(self.text.contains(&first("remedy")), "{}", self.text);
        }
        fact
    }

    #[track_caller]
    fn is_ok(&self, name: &str) -> bool {
        self.fact(name)["ok"] == true
    }

    /// The hooks of that name.
    fn hooks(&self, name: &str) -> Vec<&Value> {
        let hooks = self.page["hooks"].as_array().expect("hooks");
        hooks.iter().filter(|hook| hook["hook"] == name).collect()
    }

    /// The mechanism of the only hook of that name.
    fn mechanism(&self, name: &str) -> &str {
        self.hooks(name)[0]["mechanism"].as_str().unwrap_or("none")
    }

    /// Checks that the agent reports what `seen` expects of each hook.
    #[track_caller]
    fn assert_tells(&self, seen: Seen) {
        let traffic = TRAFFIC.map(|name| (name, seen.traffic));
        let sockets = SOCKETS.map(|name| (name, seen.has(name)));
        for (name, served) in traffic.into_iter().chain(sockets) {
            let hooks = self.hooks(name);
            assert!(!hooks.is_empty(), "{name}: {}", self.text);
            for hook in hooks {
                assert_eq!(hook["state"] != "unserved", served, "{name}: {}", self.text);
                let says_why =
                    hook["passed_over"].as_array().is_some_and(|reasons| !reasons.is_empty());
                assert!(served || says_why, "{name}: {}", self.text);
            }
        }
        if seen != EVERYTHING {
            assert_ne!(self.code, 0, "{}", self.text);
        }
    }
}

fn start(world: &World, privileges: Privileges) -> Agent {
    start_with(world, privileges, &config())
}

fn start_with(world: &World, privileges: Privileges, config: &Config) -> Agent {
    Agent::launch(world, config, privileges.ghostport(world, &["run"]))
}

/// An agent that must not start.
fn refuse(world: &World, privileges: Privileges) -> Output {
    let path = config().write(world);
    let path = path.to_str().expect("text");
    let output = finish(&mut privileges.ghostport(world, &["run", "--config", path]));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    output
}

/// Checks that no thread of the agent may do more than `allowed`, now or by executing a program.
#[track_caller]
fn assert_given_up(agent: &Agent, allowed: CapabilitySet, is_bounded: bool) {
    let threads = ThreadStatus::of_process(agent.pid()).expect("threads");
    assert!(threads.len() > 1, "a test of one thread proves little");
    for thread in threads {
        assert_eq!(thread.set("CapEff"), allowed, "{thread:?}");
        assert_eq!(thread.set("CapPrm"), allowed, "{thread:?}");
        assert_eq!(thread.set("CapInh"), CapabilitySet::empty(), "{thread:?}");
        assert_eq!(thread.set("CapAmb"), CapabilitySet::empty(), "{thread:?}");
        assert_eq!(thread.field("NoNewPrivs"), "1");
        if is_bounded {
            assert_eq!(thread.set("CapBnd"), allowed, "{thread:?}");
        }
    }
}

/// Everything that comes after the start: interfaces, more ports, an end that leaves nothing.
#[track_caller]
fn assert_works_on(world: &World, agent: Agent) {
    let peer = Peer::alone();
    world.veth("gp0", &peer, "peer0");
    let ingress = || agent.metrics().mechanism("ingress", Some("gp0"));
    eventually("a hook on a new interface", ingress);
    peer.run(|| Wire::open("peer0").send(&plain_udp(watched() + 1, watched())));
    let packets = || agent.metrics().sum("ghostport_packets_total", &[("interface", "gp0")]);
    eventually("a packet", || (packets() == 1).then_some(()));

    // The configuration adds a port by itself, and the agent listens on another.
    let others = [port(99), LISTEN];
    let ports = (1..32_000).filter(|port| !others.contains(port));
    Config { ports: ports.collect(), ..config() }.write(world);
    assert!(agent.reload(), "{}", agent.log());
    drop(UdpSocket::bind(("127.0.0.1", 31_999)).expect("bound"));
    let binds = || agent.metrics().sum("ghostport_binds_total", &[("port", "31999")]);
    eventually("a bind on a new port", || (binds() == 1).then_some(()));
    assert_eq!(packets(), 1, "counts survive");

    sh("ip link delete gp0");
    eventually("no such interface", || (!agent.metrics().text.contains("gp0")).then_some(()));
    let log = agent.log();
    assert!(!log.contains("ERROR"), "{log}");
    assert_eq!(agent.terminate().code(), Some(0));
    let links = fs::read_dir(Path::new(PINS).join("links")).map_or(0, Iterator::count);
    assert_eq!(links, 0, "hooks are left");
}

#[test]
fn root_drops_unneeded_privileges() {
    in_world(|world| {
        let doctor = Doctor::of_root();
        doctor.assert_tells(EVERYTHING);
        assert!(!is_guest() || doctor.code == 0, "{}", doctor.text);
        let agent = Agent::start(world, &config());
        assert_given_up(&agent, Privileges::five(ROOT).capabilities(), true);
        assert_sees(&agent, EVERYTHING);
        let told = Doctor::of_root();
        told.assert_tells(EVERYTHING);
        assert_eq!(told.code, doctor.code, "{}", told.text);
        assert_given_up(&agent, Privileges::five(ROOT).capabilities(), true);
        assert_works_on(world, agent);
    });
}

#[test]
fn a_user_with_five_capabilities_has_every_hook_of_root() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        let of_root = mechanisms(&agent);
        assert_eq!(agent.terminate().code(), Some(0));
        assert_eq!(finish(ghostport().arg("detach")).status.code(), Some(0));

        world.give_to(SOMEBODY);
        let privileges = Privileges::usual(SOMEBODY);
        let doctor = Doctor::of(world, privileges);
        doctor.assert_tells(EVERYTHING);
        assert!(!is_guest() || doctor.code == 0, "{}", doctor.text);
        let agent = start(world, privileges);
        assert_given_up(&agent, Privileges::five(SOMEBODY).capabilities(), false);
        assert_eq!(mechanisms(&agent), of_root, "{}", agent.log());
        assert_sees(&agent, EVERYTHING);
        // Older kernels have no links for packets, nor for raw tracepoints.
        let least = if has_tcx() { 5 } else { 2 };
        let links = Path::new(PINS).join("links").read_dir().expect("pins").count();
        assert!(links >= least, "{links} links");
        let told = Doctor::of(world, privileges);
        told.assert_tells(EVERYTHING);
        assert_eq!(told.code, doctor.code, "{}", told.text);
        agent.kill9();
        let agent = start(world, privileges);
        assert_sees(&agent, EVERYTHING);
        assert_works_on(world, agent);
    });
}

/// Every rung, not just the first that serves. Debian's kernels keep perf_event_open from a user.
#[test]
fn a_user_with_five_capabilities_has_every_mechanism() {
    in_world(|world| {
        let level: i32 = sysctl("kernel/perf_event_paranoid").parse().expect("a number");
        let is_restricted = is_guest() && level > 2;
        let mut served = Vec::new();
        for mechanism in ["fexit", "kprobe", "cgroup", "tracepoint"] {
            let config = config().mechanism(mechanism);
            let bind_of = |agent: &Agent| agent.metrics().mechanism("bind", None);
            world.give_to(ROOT);
            let agent = Agent::start(world, &config);
            let of_root = bind_of(&agent);
            assert_eq!(agent.terminate().code(), Some(0));
            assert_eq!(finish(ghostport().arg("detach")).status.code(), Some(0));
            world.give_to(SOMEBODY);
            let agent = start_with(world, Privileges::usual(SOMEBODY), &config);
            if is_restricted && mechanism != "fexit" {
                let left = (mechanism == "cgroup").then(|| "cgroup-success".to_owned());
                assert_eq!(bind_of(&agent), left, "{mechanism}: {}", agent.log());
                let remedy = "sysctl kernel.perf_event_paranoid=2";
                assert!(agent.log().contains(remedy), "{mechanism}: {}", agent.log());
            } else {
                assert_eq!(bind_of(&agent), of_root, "{mechanism}: {}", agent.log());
            }
            assert_eq!(agent.terminate().code(), Some(0));
            assert_eq!(finish(ghostport().arg("detach")).status.code(), Some(0));
            served.extend(of_root);
        }
        assert!(served.len() == 4 || !is_guest(), "{served:?}");
        assert!(served.len() >= 2, "{served:?}");
    });
}

#[test]
fn each_missing_capability_costs_what_doctor_says() {
    in_world(|world| {
        for user in [SOMEBODY, ROOT] {
            world.give_to(user);
            for (name, capability) in FIVE {
                let privileges = Privileges::usual(user).without(capability);
                let doctor = Doctor::of(world, privileges);
                assert!(!doctor.is_ok(name), "{name}: {}", doctor.text);
                for (other, _) in FIVE.iter().filter(|(other, _)| *other != name) {
                    assert!(doctor.is_ok(other), "without {name}: {}", doctor.text);
                }
                let remedy = doctor.fact(name)["remedy"].as_str().expect("a remedy");
                assert!(remedy.contains("setcap") && remedy.contains("root"), "{remedy}");
                if ["CAP_BPF", "CAP_PERFMON"].contains(&name) {
                    assert_eq!(doctor.code, 2, "{}", doctor.text);
                    let said = stderr(&refuse(world, privileges));
                    assert!(said.contains(&format!("missing {name}: ")), "{said}");
                    assert!(said.contains("setcap"), "{said}");
                    continue;
                }
                assert_eq!(doctor.code, 1, "without {name}: {}", doctor.text);
                let seen = seen_without(name, user, &doctor);
                doctor.assert_tells(seen);
                let agent = start(world, privileges);
                assert!(agent.log().contains(&format!("missing {name}")), "{}", agent.log());
                assert!(agent.log().contains("setcap"), "{}", agent.log());
                assert_sees(&agent, seen);
                let told = Doctor::of(world, privileges);
                assert_eq!(told.code, 1, "{}", told.text);
                assert!(!told.is_ok(name), "{}", told.text);
                told.assert_tells(seen);
                assert_eq!(agent.terminate().code(), Some(0));
                assert_eq!(finish(ghostport().arg("detach")).status.code(), Some(0));
                world.give_to(user);
            }
        }
    });
}

/// What is left without a capability.
fn seen_without(name: &str, user: u32, doctor: &Doctor) -> Seen {
    match name {
        // No tracepoint fires when a UDP socket is closed.
        "CAP_NET_ADMIN" => Seen { traffic: false, closes: is_guest(), ..EVERYTHING },
        // Refusals by tracepoint alone, and only root reads tracefs all the same.
        "CAP_DAC_READ_SEARCH" if user != ROOT && !is_guest() => {
            assert_eq!(doctor.hooks("bind")[0]["mechanism"], "cgroup-success");
            Seen { refusals: false, ..EVERYTHING }
        }
        _ => EVERYTHING,
    }
}

#[test]
fn names_all_missing_capabilities_at_once() {
    in_world(|world| {
        let missing = CapabilitySet::PERFMON | CapabilitySet::NET_ADMIN;
        let privileges = Privileges::usual(SOMEBODY).without(missing);
        let said = stderr(&refuse(world, privileges));
        assert!(said.contains("missing CAP_PERFMON, CAP_NET_ADMIN: "), "{said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
        let doctor = Doctor::of(world, privileges);
        assert_eq!(doctor.code, 2, "{}", doctor.text);
    });
}

/// CAP_SYS_ADMIN stands for two of the five on every kernel, and then it is what is kept.
#[test]
fn accepts_cap_sys_admin_for_newer_capabilities() {
    in_world(|world| {
        let privileges = Privileges::usual(ROOT)
            .without(CapabilitySet::BPF | CapabilitySet::PERFMON)
            .with(CapabilitySet::SYS_ADMIN);
        let doctor = Doctor::of(world, privileges);
        assert!(doctor.is_ok("CAP_BPF") && doctor.is_ok("CAP_PERFMON"), "{}", doctor.text);
        let agent = start(world, privileges);
        let kept = Privileges::five(ROOT)
            .without(CapabilitySet::BPF | CapabilitySet::PERFMON)
            .with(CapabilitySet::SYS_ADMIN);
        assert_given_up(&agent, kept.capabilities(), false);
        assert_sees(&agent, EVERYTHING);
        assert_works_on(world, agent);
    });
}

#[test]
fn memlock_matters_where_maps_are_charged_to_it() {
    in_world(|world| {
        world.give_to(SOMEBODY);
        let privileges = Privileges::five(SOMEBODY).memlock(64 << 10);
        let doctor = Doctor::of(world, privileges);
        if !charges_memlock() {
            assert!(doctor.is_ok("memlock"), "{}", doctor.text);
            assert_sees(&start(world, privileges), EVERYTHING);
            return;
        }
        assert!(!doctor.is_ok("memlock") && doctor.code == 2, "{}", doctor.text);
        assert!(doctor.text.contains("LimitMEMLOCK=infinity"), "{}", doctor.text);
        let said = stderr(&refuse(world, privileges));
        assert!(said.contains("RLIMIT_MEMLOCK is 64 KiB"), "{said}");
        assert!(said.contains("CAP_SYS_RESOURCE"), "{said}");
        // Who may raise the limit does, and needs the right to do so no more.
        let agent = start(world, privileges.with(CapabilitySet::SYS_RESOURCE));
        assert_given_up(&agent, Privileges::five(SOMEBODY).capabilities(), false);
        assert_sees(&agent, EVERYTHING);
        assert_works_on(world, agent);
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
        assert_eq!(mechanism("listen"), "tracepoint");
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

fn sysctl(name: &str) -> String {
    let value = fs::read_to_string(Path::new("/proc/sys").join(name)).expect(name);
    value.trim().to_owned()
}

/// The setting does not concern processes with CAP_BPF.
#[track_caller]
fn assert_unprivileged_bpf(setting: &str) {
    in_world(|world| {
        assert_eq!(sysctl("kernel/unprivileged_bpf_disabled"), setting, "not such a machine");
        world.give_to(SOMEBODY);
        let doctor = Doctor::of(world, Privileges::usual(SOMEBODY));
        let value = doctor.fact("unprivileged BPF")["value"].as_str().expect("a value");
        let expected = if setting == "0" { "allowed" } else { "forbidden" };
        assert!(value.starts_with(expected), "{value}");
        assert_eq!(doctor.code, 0, "{}", doctor.text);
        let agent = start(world, Privileges::usual(SOMEBODY));
        assert_sees(&agent, EVERYTHING);
        assert_eq!(agent.terminate().code(), Some(0));
        // And where it is allowed, too, CAP_BPF is what an agent wants.
        let said = stderr(&refuse(world, Privileges::usual(SOMEBODY).without(CapabilitySet::BPF)));
        assert!(said.contains("missing CAP_BPF"), "{said}");
    });
}

#[test]
#[ignore = "wants sysctl.kernel.unprivileged_bpf_disabled=0"]
fn unprivileged_bpf_allowed() {
    assert_unprivileged_bpf("0");
}

#[test]
#[ignore = "wants sysctl.kernel.unprivileged_bpf_disabled=1"]
fn unprivileged_bpf_forbidden_for_good() {
    assert_unprivileged_bpf("1");
}

#[test]
#[ignore = "wants sysctl.kernel.unprivileged_bpf_disabled=2"]
fn unprivileged_bpf_forbidden_revocably() {
    assert_unprivileged_bpf("2");
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

fn lockdown() -> String {
    let modes = fs::read_to_string("/sys/kernel/security/lockdown").expect("securityfs");
    let (_, rest) = modes.split_once('[').expect("a mode");
    rest.split(']').next().unwrap_or_default().to_owned()
}

#[test]
#[ignore = "wants lockdown=integrity"]
fn lockdown_integrity() {
    in_world(|world| {
        assert_eq!(lockdown(), "integrity", "not such a machine");
        let doctor = Doctor::of_root();
        assert_eq!(doctor.page["lockdown"], "integrity");
        assert_eq!(doctor.code, 0, "{}", doctor.text);
        let agent = Agent::start(world, &config());
        assert_eq!(agent.metrics().mechanism("bind", None).as_deref(), Some("fexit"));
        assert_sees(&agent, EVERYTHING);
        assert_works_on(world, agent);
    });
}

#[test]
#[ignore = "wants lockdown=confidentiality"]
fn lockdown_confidentiality() {
    in_world(|world| {
        assert_eq!(lockdown(), "confidentiality", "not such a machine");
        for user in [ROOT, SOMEBODY] {
            world.give_to(user);
            for running in [false, true] {
                let agent = running.then(|| start(world, Privileges::usual(user)));
                let doctor = Doctor::of(world, Privileges::usual(user));
                assert_eq!(doctor.code, 1, "{}", doctor.text);
                assert_eq!(doctor.page["lockdown"], "confidentiality");
                let remedy = doctor.fact("lockdown")["remedy"].as_str().expect("a remedy");
                assert!(remedy.contains("lockdown=integrity"), "{remedy}");
                for hook in SOCKETS.into_iter().flat_map(|name| doctor.hooks(name)) {
                    let why = hook["passed_over"].to_string();
                    assert!(why.contains("lockdown=confidentiality"), "{}", doctor.text);
                }
                // Not even tracefs may be read.
                let seen = Seen { listens: false, ..SUCCESSES };
                doctor.assert_tells(seen);
                assert_eq!(doctor.mechanism("bind"), "cgroup-success", "{}", doctor.text);
                if let Some(agent) = agent {
                    assert!(agent.log().contains("lockdown=confidentiality"), "{}", agent.log());
                    assert_sees(&agent, seen);
                    assert_eq!(agent.terminate().code(), Some(0));
                    assert_eq!(finish(ghostport().arg("detach")).status.code(), Some(0));
                }
            }
        }
    });
}
