//! Interfaces whose names change, or are no text.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _, process::Command, thread, time::Duration};

use testkit::{
    agent::Agent,
    eventually_within,
    programs::best_tc,
    sh,
    wire::Wire,
    world::{Peer, in_world, set_sysctl},
};

use super::support::{await_hooked, await_packets, config, frame, packets};

/// Renames that fall into the time in which the agent attaches.
#[test]
fn an_interface_that_is_renamed_while_it_is_attached_gets_its_hooks() {
    const ROUNDS: usize = 10;
    const INTERFACES: usize = 20;
    const LIMIT: Duration = Duration::from_secs(60);
    in_world(|world| {
        let agent = Agent::start(world, &config());
        let batch = |lines: String| {
            let path = world.path("batch");
            fs::write(&path, lines).expect("written");
            sh(&format!("ip -batch {}", path.display()));
        };
        for round in 0..ROUNDS {
            let lines = |line: &dyn Fn(usize) -> String| (0..INTERFACES).map(line).collect();
            batch(lines(&|n| format!("link add gp{n} type veth peer name other{n}\n")));
            // The agent waits for 50 ms before it attaches.
            thread::sleep(Duration::from_millis(40 + 4 * round as u64));
            batch(lines(&|n| format!("link set gp{n} name gp{n}r{round}\n")));
            let names: Vec<String> = (0..INTERFACES).map(|n| format!("gp{n}r{round}")).collect();
            eventually_within(LIMIT, "hooks on all of them", || {
                let metrics = agent.metrics();
                let all = names.iter().all(|name| {
                    let mechanism = |hook| metrics.mechanism(hook, Some(name));
                    mechanism("ingress").is_some() && mechanism("egress").is_some()
                });
                all.then_some(())
            });
            let metrics = agent.metrics();
            for name in &names {
                let mechanism = |hook| metrics.mechanism(hook, Some(name));
                assert_eq!(mechanism("ingress").as_deref(), Some("xdp-native"), "{name}");
                assert_eq!(mechanism("egress").as_deref(), Some(best_tc()), "{name}");
            }
            batch(lines(&|n| format!("link delete gp{n}r{round}\n")));
            await_hooked(&agent, &[]);
        }
    });
}

/// Whatever the kernel allows. A `%` stands for a number of its choice.
#[test]
fn interfaces_are_counted_whatever_bytes_their_names_have() {
    const NAMES: [(&[u8], &str); 6] = [
        (b"gp\xff0", r"gp\xff0"),
        (b"gp\xc3", r"gp\xc3"),
        (b"gp\"q\\", r#"gp"q\"#),
        (b"gp\\xff0", r"gp\x5cxff0"),
        (b"gp*?[", "gp*?["),
        ("gpö{}\u{1}".as_bytes(), "gpö{}\u{1}"),
    ];
    in_world(|world| {
        set_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        let agent = Agent::start(world, &config());
        for (name, label) in NAMES {
            let peer = Peer::alone();
            let ip = |arguments: &[&OsStr]| {
                let output = Command::new("ip").args(arguments).output().expect("ip");
                assert!(output.status.success(), "{label}: {output:?}");
            };
            let words = |text: &'static str| text.split(' ').map(OsStr::new).collect::<Vec<_>>();
            let name = OsStr::from_bytes(name);
            let netns = peer.thread_id().to_string();
            let add =
                [words("link add name"), vec![name], words("type veth peer name peer0 netns")];
            ip(&[add.concat(), vec![OsStr::new(&netns)]].concat());
            ip(&[words("link set dev"), vec![name], words("up")].concat());
            peer.run(|| sh("ip link set peer0 up"));
            await_hooked(&agent, &[label]);
            peer.run(|| {
                let wire = Wire::open("peer0");
                (0..3).for_each(|_| wire.send(&frame()));
            });
            await_packets(&agent, label, 3);
            assert_eq!(packets(&agent, label, "ingress"), 3);
            ip(&[words("link delete dev"), vec![name]].concat());
            await_hooked(&agent, &[]);
        }
    });
}
