//! What an agent sees, and how one is started with few privileges.

use std::{collections::BTreeMap, fs, net::UdpSocket, path::Path, process::Output};

use rustix::thread::CapabilitySet;
use testkit::{
    agent::{Agent, Config, LISTEN, finish, stderr},
    eventually,
    frames::plain_udp,
    privileges::{Privileges, ThreadStatus},
    sh,
    wire::Wire,
    world::{Peer, World, port},
};

pub(super) const ROOT: u32 = 0;
pub(super) const PINS: &str = "/sys/fs/bpf/ghostport";
pub(super) const TRAFFIC: [&str; 2] = ["ingress", "egress"];
pub(super) const SOCKETS: [&str; 3] = ["bind", "listen", "close"];

pub(super) fn watched() -> u16 {
    port(0)
}

pub(super) fn config() -> Config {
    Config::new([watched()]).on(&["lo", "gp*"])
}

/// Whether this is one of the kernels of `cargo xtask vm`, which refuse nothing by themselves.
pub(super) fn is_guest() -> bool {
    rustix::system::uname().release().to_string_lossy().contains("-cloud-amd64")
}

/// What an agent is expected to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) traffic: bool,
    pub(super) successes: bool,
    pub(super) refusals: bool,
    /// Closes of UDP sockets.
    pub(super) closes: bool,
    /// TCP sockets that listen.
    pub(super) listens: bool,
}

impl Seen {
    /// Whether a hook on sockets is served.
    pub(super) fn has(self, hook: &str) -> bool {
        if hook == "bind" { self.successes } else { self.listens }
    }
}

pub(super) const EVERYTHING: Seen =
    Seen { traffic: true, successes: true, refusals: true, closes: true, listens: true };
/// What is left where no program reads a socket.
pub(super) const SUCCESSES: Seen =
    Seen { traffic: true, successes: true, refusals: false, closes: false, listens: true };

/// Sends a packet and binds twice, once in vain, and checks that just what should be is counted.
#[track_caller]
pub(super) fn assert_sees(agent: &Agent, seen: Seen) {
    let port = watched().to_string();
    let on_port = ("port", port.as_str());
    let packets = || agent.metrics().sum("ghostport_packets_total", &[on_port]);
    let binds =
        |result| agent.metrics().sum("ghostport_binds_total", &[on_port, ("result", result)]);
    let closes = || agent.metrics().sum("ghostport_closes_total", &[on_port]);
    let before = (packets(), binds("success"), binds("error"), closes());
    Wire::open("lo").send(&plain_udp(watched() + 1, watched()));
    drop(UdpSocket::bind(("127.0.0.1", watched())).expect("bound"));
    assert!(UdpSocket::bind(("203.0.113.1", watched())).is_err(), "an address of another host");
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
pub(super) fn mechanisms(agent: &Agent) -> BTreeMap<&'static str, Option<String>> {
    let metrics = agent.metrics();
    let traffic = TRAFFIC.map(|hook| (hook, metrics.mechanism(hook, Some("lo"))));
    let sockets = SOCKETS.map(|hook| (hook, metrics.mechanism(hook, None)));
    traffic.into_iter().chain(sockets).collect()
}

pub(super) fn start(world: &World, privileges: Privileges) -> Agent {
    start_with(world, privileges, &config())
}

pub(super) fn start_with(world: &World, privileges: Privileges, config: &Config) -> Agent {
    Agent::launch(world, config, privileges.ghostport(world, &["run"]))
}

/// An agent that must not start.
pub(super) fn refuse(world: &World, privileges: Privileges) -> Output {
    let path = config().write(world);
    let path = path.to_str().expect("text");
    let output = finish(&mut privileges.ghostport(world, &["run", "--config", path]));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    output
}

/// Checks that no thread of the agent may do more than `allowed`, now or by executing a program.
#[track_caller]
pub(super) fn assert_given_up(agent: &Agent, allowed: CapabilitySet, is_bounded: bool) {
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
pub(super) fn assert_works_on(world: &World, agent: Agent) {
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

pub(super) fn sysctl(name: &str) -> String {
    let value = fs::read_to_string(Path::new("/proc/sys").join(name)).expect(name);
    value.trim().to_owned()
}
