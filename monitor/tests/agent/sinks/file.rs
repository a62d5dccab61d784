//! A file on a small disk.

use std::{fs, path::PathBuf};

use rustix::{
    mount::{MountFlags, mount, mount_remount},
    process::Signal,
};
use serde_json::Value;
use testkit::{
    agent::{Agent, Config, repeats},
    eventually, eventually_within, patience,
    world::{in_world, port},
};

use super::support::{bind, lost};

#[test]
fn a_full_disk_leaves_no_half_line() {
    in_world(|world| {
        let disk = world.path("disk");
        fs::create_dir(&disk).expect("a folder");
        mount("none", &disk, "tmpfs", MountFlags::empty(), c"size=8k").expect("mounted");
        let path = disk.join("events.jsonl");
        let sink = format!("{{kind: file, path: {}}}", path.display());
        let agent = Agent::start(world, &Config::new([port(0)]).with_sinks([sink]));
        eventually("a full disk", || {
            bind(0);
            (lost(&agent) > 0.0).then_some(())
        });
        mount_remount(&disk, MountFlags::empty(), "size=1m").expect("more room");
        let written = fs::read(&path).expect("a file").len();
        bind(0);
        let whole = eventually("more events", || {
            let text = fs::read_to_string(&path).expect("text");
            (text.len() > written && text.ends_with('\n')).then_some(text)
        });
        for line in whole.lines() {
            serde_json::from_str::<Value>(line).expect(line);
        }
    });
}

#[test]
fn a_full_file_is_rotated_beside_logrotate() {
    in_world(|world| {
        let folder = world.path("log");
        fs::create_dir(&folder).expect("a folder");
        let path = folder.join("events.jsonl");
        let sink = format!("{{kind: file, path: {}, max_size: 1MiB, keep: 9}}", path.display());
        let agent = Agent::start(world, &Config::new([port(0)]).with_sinks([sink]));
        let rotated = |number: u32| folder.join(format!("events.jsonl.{number:06}"));
        let bind_until = |file: PathBuf| {
            eventually_within(patience() * 3, "a rotation", || {
                (0..50).for_each(|_| bind(0));
                file.exists().then_some(())
            });
        };
        bind_until(rotated(1));
        // As logrotate does it, with and without the signal.
        fs::rename(&path, folder.join("events.jsonl.1")).expect("renamed");
        agent.signal(Signal::HUP);
        bind_until(rotated(2));
        fs::rename(&path, folder.join("events.jsonl.2")).expect("renamed");
        bind_until(rotated(3));
        let binds = agent.metrics().sum("ghostport_binds_total", &[("port", &port(0).to_string())]);
        assert!(agent.terminate().success());
        let mut accounted = 0;
        for file in fs::read_dir(&folder).expect("a folder") {
            let text = fs::read_to_string(file.expect("a file").path()).expect("text");
            assert!(text.len() <= 1 << 20, "{} bytes", text.len());
            let events = text.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
            let is_bind = |event: &Value| {
                event["event.name"] == "ghostport.bind" && event["network.local.port"] == port(0)
            };
            accounted += events.filter(is_bind).map(|event| repeats(&event)).sum::<u64>();
        }
        assert_eq!(accounted, binds);
    });
}
