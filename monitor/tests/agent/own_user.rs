//! An agent that root starts becomes the user that packages made for it.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    path::Path,
};

use testkit::{
    agent::{Agent, Config, finish, ghostport, stdout},
    eventually,
    privileges::{Privileges, ThreadStatus},
    world::{World, in_world, port},
};

/// Any number that no user of the host has.
const USER: u32 = 4711;

fn config() -> Config {
    Config::new([port(0)]).on(&["lo"])
}

/// A host on which the packages were installed: with the user, and with what an agent of root left.
fn with_user(world: &World) {
    world.shield(&["/etc"]);
    for (file, line) in [
        ("/etc/passwd", format!("ghostport:x:{USER}:{USER}::/:/usr/sbin/nologin\n")),
        ("/etc/group", format!("ghostport:x:{USER}:\n")),
    ] {
        let text = fs::read_to_string(file).unwrap_or_default();
        let others = text.lines().filter(|line| !line.starts_with("ghostport:"));
        let text: String = others.map(|line| format!("{line}\n")).collect();
        fs::write(file, text + &line).expect("written");
    }
}

fn owner(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").uid()
}

#[track_caller]
fn assert_user(agent: &Agent, user: u32) {
    for thread in ThreadStatus::of_process(agent.pid()).expect("threads") {
        let ids = [user; 4].map(|id| id.to_string()).join("\t");
        assert_eq!(thread.field("Uid"), ids, "{thread:?}");
        assert_eq!(thread.field("Gid"), ids, "{thread:?}");
        let five = Privileges::five(user).capabilities();
        assert_eq!(thread.set("CapEff"), five, "{thread:?}");
        assert_eq!(thread.set("CapPrm"), five, "{thread:?}");
    }
}

#[test]
fn started_as_root_it_becomes_its_own_user() {
    in_world(|world| {
        let folder = Path::new(World::DIR);
        // At first there is no such user on this host.
        let agent = Agent::start(world, &config());
        assert_user(&agent, 0);
        drop(std::net::UdpSocket::bind(("127.0.0.1", port(0))).expect("bound"));
        eventually("the event", || (agent.count_events("bind") == 1).then_some(()));
        agent.terminate();

        with_user(world);
        chown(folder, Some(USER), Some(USER)).expect("given");
        for file in fs::read_dir(folder).expect("files").flatten() {
            chown(file.path(), Some(USER), Some(USER)).expect("given");
        }
        let agent = Agent::start(world, &config());
        assert_user(&agent, USER);
        assert!(agent.log().contains("not root any more"), "{}", agent.log());
        let doctor = stdout(&finish(ghostport().arg("doctor")));
        assert!(doctor.contains(&format!("user {USER}, the agent")), "{doctor}");
        for file in ["/run/ghostport", "/run/ghostport/hooks.json", "/run/ghostport/api.sock"] {
            assert_eq!(owner(Path::new(file)), USER, "{file}");
        }
        // It is as good as before: it has the history and the counts, and observes and reloads.
        drop(std::net::UdpSocket::bind(("127.0.0.1", port(0))).expect("bound"));
        eventually("the event", || (agent.count_events("bind") == 2).then_some(()));
        Config::new([port(0), port(1)]).on(&["lo"]).write(world);
        assert!(agent.reload(), "{}", agent.log());
        drop(std::net::UdpSocket::bind(("127.0.0.1", port(1))).expect("bound"));
        eventually("the event", || (agent.count_events("bind") == 3).then_some(()));
        assert_eq!(agent.metrics().sum("ghostport_events_lost_total", &[]), 0);
        // What was pinned is adopted by the next one, and removed at the end.
        agent.kill9();
        let agent = Agent::start(world, &config());
        assert_user(&agent, USER);
        agent.terminate();
        assert!(!Path::new("/run/ghostport/api.sock").exists());
    });
}

#[test]
fn it_stays_root_where_its_user_may_not_write_what_is_configured() {
    in_world(|world| {
        with_user(world);
        let agent = Agent::start(world, &config());
        assert_user(&agent, 0);
        let doctor = stdout(&finish(ghostport().arg("doctor")));
        assert!(
            doctor.contains("root, the agent") && doctor.contains("its log says why"),
            "{doctor}"
        );
        let log = agent.log();
        let why = format!("it may not write {}", world.path("ghostport.db").display());
        assert!(log.contains("stays root") && log.contains(&why), "{log}");
    });
}
