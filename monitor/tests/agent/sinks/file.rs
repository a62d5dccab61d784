//! A file on a small disk.

use std::fs;

use rustix::mount::{MountFlags, mount, mount_remount};
use serde_json::Value;
use testkit::{
    agent::{Agent, Config},
    eventually,
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
