//! Who binds and who holds, where systemd starts the programs: real units of a real process 1.

use std::{
    env,
    net::{Ipv4Addr, TcpStream},
};

use ghostport::{
    api::{port::Port, socket::Socket},
    sockets::TcpState,
};
use serde_json::Value;
use testkit::{
    agent::{Agent, Config},
    eventually,
    systemd::{Systemd, binding},
    world::{World, in_world, port},
};

fn named<'a>(events: &'a [Value], kind: &str, port: u16) -> Vec<&'a Value> {
    let is_wanted = |event: &&Value| {
        event["event.name"] == format!("ghostport.{kind}") && event["network.local.port"] == port
    };
    events.iter().filter(is_wanted).collect()
}

/// The first event of a kind on a port.
fn first(agent: &Agent, kind: &str, port: u16) -> Value {
    eventually(kind, || named(&agent.events(), kind, port).first().map(|event| (*event).clone()))
}

/// Boots, and watches three ports that one unit may bind.
fn with_systemd(test: impl FnOnce(&Systemd, &Agent) + Send) {
    in_world(|world: &World| {
        let systemd = match Systemd::boot(world) {
            Ok(systemd) => systemd,
            Err(why) => return eprintln!("skipped: {why}"),
        };
        let config = Config::new([port(0), port(1), port(2)])
            .with_port_keys("expect: [{unit: gp-ours.service}]");
        test(&systemd, &Agent::start(world, &config));
    });
}

#[test]
fn names_and_expects_a_service_by_its_unit() {
    with_systemd(|systemd, agent| {
        systemd.add("gp-ours.service", &binding(port(0), "stays"));
        systemd.add("gp-other.service", &binding(port(1), "stays"));
        systemd.start("gp-ours.service");
        systemd.start("gp-other.service");
        for (port, unit, is_expected) in
            [(port(0), "gp-ours.service", true), (port(1), "gp-other.service", false)]
        {
            let bind = first(agent, "bind", port);
            assert_eq!(bind["ghostport.systemd_unit"], unit, "{bind:#}");
            assert_eq!(bind["ghostport.expected"], is_expected, "{bind:#}");
            let [pid] = systemd.unit_pids(unit)[..] else { panic!("not one process") };
            assert_eq!(bind["process.pid"], pid, "{bind:#}");
            assert_eq!(bind["process.parent_pid"], systemd.pid(), "{bind:#}");
            let cgroup = bind["process.linux.cgroup"].as_str().expect("a control group");
            assert!(cgroup.ends_with(&format!(".slice/system.slice/{unit}")), "{cgroup}");
        }
        let unexpected = first(agent, "unexpected_owner", port(1));
        assert_eq!(unexpected["ghostport.systemd_unit"], "gp-other.service", "{unexpected:#}");
        assert!(named(&agent.events(), "unexpected_owner", port(0)).is_empty());
    });
}

/// Who holds the listener on a port, each with its unit.
fn holders(agent: &Agent, port: u16) -> Vec<(u32, Option<String>)> {
    let view: Port = agent.ask(&format!("/api/v1/ports/{port}"));
    let is_listener = |socket: &&Socket| socket.tcp_state == Some(TcpState::Listen);
    let listener = view.sockets.iter().find(is_listener);
    let holders = listener.and_then(|socket| socket.holders.as_ref()).into_iter().flatten();
    let mut holders: Vec<_> =
        holders.map(|holder| (holder.pid, holder.systemd_unit.clone())).collect();
    holders.sort_unstable_by_key(|(pid, _)| *pid);
    holders
}

/// systemd binds for the service. The binder and the holder are different processes; both are
/// reported.
#[test]
fn reports_the_binder_and_the_holders_of_a_socket_unit() {
    with_systemd(|systemd, agent| {
        let listen = format!("[Socket]\nListenStream=127.0.0.1:{}\n", port(2));
        systemd.add("gp-ours.socket", &listen);
        systemd.add("gp-ours.service", "[Service]\nExecStart=/bin/sleep infinity\n");
        systemd.start("gp-ours.socket");
        let manager = systemd.pid();

        let bind = first(agent, "bind", port(2));
        // Where it can filter a unit's packets, it binds in a child that it puts into the unit's
        // control group (`socket_address_listen_in_cgroup` of systemd's src/core/socket.c).
        let unit = bind["ghostport.systemd_unit"].as_str().expect("a unit");
        match unit {
            "gp-ours.socket" => assert_eq!(bind["process.parent_pid"], manager, "{bind:#}"),
            "init.scope" => assert_eq!(bind["process.pid"], manager, "{bind:#}"),
            other => panic!("{other}: {bind:#}"),
        }
        assert_eq!(bind["ghostport.expected"], false, "the service has not bound it: {bind:#}");
        let alone = vec![(manager, Some("init.scope".to_owned()))];
        eventually("one holder", || (holders(agent, port(2)) == alone).then_some(()));

        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port(2))).expect("connected");
        let both = eventually("two holders", || {
            let holders = holders(agent, port(2));
            (holders.len() == 2).then_some(holders)
        });
        let service = systemd.unit_pids("gp-ours.service")[0];
        // In the order of their numbers, of which the kernel begins again with small ones.
        assert!(both.contains(&alone[0]), "the binder holds it, too: {both:?}");
        assert!(both.contains(&(service, Some("gp-ours.service".to_owned()))), "{both:?}");
        assert_eq!(named(&agent.events(), "bind", port(2)).len(), 1, "nobody bound it again");
        drop(client);
    });
}

/// A unit that ends at once takes its control group along. What is reported of it is right, or absent.
#[test]
fn names_a_short_lived_unit() {
    const TIMES: usize = 20;
    with_systemd(|systemd, agent| {
        let oneshot = binding(port(0), "ends").replace("Type=exec", "Type=oneshot");
        systemd.add("gp-ours.service", &oneshot);
        for _ in 0..TIMES {
            systemd.start("gp-ours.service");
        }
        let binds = eventually("every bind", || {
            let events = agent.events();
            let binds: Vec<Value> = named(&events, "bind", port(0)).into_iter().cloned().collect();
            (binds.len() == TIMES).then_some(binds)
        });
        let program = env::current_exe().expect("a path");
        let program = program.to_str().expect("text");
        let mut units = 0;
        for bind in &binds {
            assert_eq!(bind["process.parent_pid"], systemd.pid(), "{bind:#}");
            assert_eq!(bind["process.command_args"][0], program, "{bind:#}");
            if let Some(unit) = bind["ghostport.systemd_unit"].as_str() {
                assert_eq!(unit, "gp-ours.service", "{bind:#}");
                units += 1;
            }
        }
        eprintln!("of {TIMES} binds {units} have their unit");
        assert!(units > 0, "none has its unit: {:#}", binds[0]);
    });
}
