//! Pins that are not the agent's, or none at all.

use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    net::UdpSocket,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    },
    path::{Path, PathBuf},
};

use testkit::{
    agent::{Agent, PINS, finish, ghostport},
    privileges::SOMEBODY,
    world::{World, in_world},
};

use super::support::{binds, config, doctors_fact, watched};

fn pin(path: &str) -> PathBuf {
    Path::new(PINS).join(path)
}

fn bind() {
    drop(UdpSocket::bind(("127.0.0.1", watched())).expect("bound"));
}

/// An agent that has counted one bind, and was killed.
fn leave_pins(world: &World) {
    let agent = Agent::start(world, &config());
    bind();
    assert_eq!(binds(&agent), 1);
    agent.kill9();
}

/// Starts an agent, which sees a bind by its counter and its event. Returns how many it has counted.
fn sees_a_bind(world: &World) -> (Agent, u64) {
    let agent = Agent::start(world, &config());
    for hook in ["bind", "listen", "close"] {
        let mechanism = agent.hook_at_start(hook, None)["mechanism"].clone();
        assert!(mechanism.is_string(), "{hook}: {mechanism}");
    }
    // Without the binds by which the testkit knows that all events are there.
    let events = agent.socket_events().len();
    bind();
    assert!(agent.socket_events().len() > events);
    let counted = binds(&agent);
    (agent, counted)
}

/// Puts the pin of a map where another object belongs.
fn put_a_map(at: &str) {
    let _ = fs::remove_file(pin(at));
    fs::hard_link(pin("maps/ERRORS"), pin(at)).expect("pinned");
}

fn detach() {
    let output = finish(ghostport().arg("detach"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// The folders of pins.
fn folders() -> Vec<PathBuf> {
    let parent = Path::new(PINS).parent().expect("a folder");
    let found = fs::read_dir(parent).expect("a folder").flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = found
        .filter(|path| {
            path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"ghostport"))
        })
        .collect();
    found.sort();
    found
}

#[test]
fn garbage_among_the_pins_is_removed_and_costs_nothing_else() {
    in_world(|world| {
        leave_pins(world);
        for folder in ["links/nested/deeper", "maps/nested", "unknown/deeper", "filters/a/b"] {
            fs::create_dir_all(pin(folder)).expect("a folder");
        }
        fs::create_dir(pin("links").join(OsStr::from_bytes(b"\xff\xfe"))).expect("a folder");
        symlink("/etc", pin("maps/link")).expect("a link");
        symlink("/etc", pin("links/link")).expect("a link");
        for name in ["links/bind:fexit:0:other", "links/garbage", "counters/1:77", "sockets/x"] {
            put_a_map(name);
        }
        let (agent, counted) = sees_a_bind(world);
        assert_eq!(counted, 2);
        for name in ["links/nested", "links/garbage", "links/bind:fexit:0:other", "maps/link"] {
            assert!(fs::symlink_metadata(pin(name)).is_err(), "{name}");
        }
        assert!(fs::metadata("/etc").is_ok());
        assert_eq!(agent.terminate().code(), Some(0));
        detach();
        assert!(folders().is_empty());
    });
}

#[test]
fn detach_removes_garbage() {
    in_world(|world| {
        leave_pins(world);
        fs::create_dir_all(pin("links/nested/deeper")).expect("a folder");
        fs::create_dir_all(pin("unknown/deeper")).expect("a folder");
        fs::create_dir(pin("maps").join(OsStr::from_bytes(b"\xff"))).expect("a folder");
        put_a_map("links/bind:fexit:0:other");
        detach();
        assert!(folders().is_empty());
    });
}

/// A link pin that holds something else is no attached hook.
#[test]
fn a_map_in_the_place_of_a_link_is_not_adopted() {
    in_world(|world| {
        leave_pins(world);
        let links: Vec<String> = fs::read_dir(pin("links"))
            .expect("pins")
            .flatten()
            .map(|entry| format!("links/{}", entry.file_name().to_string_lossy()))
            .collect();
        links.iter().for_each(|link| put_a_map(link));
        let (_, counted) = sees_a_bind(world);
        assert_eq!(counted, 2);
    });
}

/// The programs behind the links would write where the agent does not read.
#[test]
fn lost_maps_take_the_links_along() {
    in_world(|world| {
        leave_pins(world);
        fs::remove_file(pin("maps/EVENTS")).expect("removed");
        let (agent, counted) = sees_a_bind(world);
        assert_eq!(counted, 2);
        agent.kill9();
        put_a_map("maps/SAMPLES");
        let (agent, counted) = sees_a_bind(world);
        assert_eq!(counted, 3);
        agent.kill9();
        // Without it no slot has a port.
        put_a_map("maps/PORT_INDEX");
        let (agent, counted) = sees_a_bind(world);
        assert_eq!(counted, 1);
        agent.kill9();
        fs::remove_dir_all(pin("maps")).expect("removed");
        assert_eq!(sees_a_bind(world).1, 1);
    });
}

/// Another folder is used as long as the one of that name is not the agent's.
#[track_caller]
fn is_not_used(world: &World, why: &str) {
    let before = fs::symlink_metadata(PINS).expect("a folder");
    let (agent, counted) = sees_a_bind(world);
    assert_eq!(counted, 1);
    assert!(agent.log().contains(why), "{}", agent.log());
    let fact = doctors_fact(world, "bpffs");
    assert_eq!(fact["ok"], false, "{fact}");
    assert!(fact["value"].as_str().expect("text").contains(why), "{fact}");
    let [squatted, used] = &folders()[..] else { panic!("{:?}", folders()) };
    assert_eq!(squatted, Path::new(PINS));
    let own = fs::symlink_metadata(used).expect("a folder");
    assert_eq!((own.uid(), own.mode() & 0o777), (0, 0o700));
    agent.kill9();
    let (agent, counted) = sees_a_bind(world);
    assert_eq!(counted, 2, "adopted");
    assert_eq!(agent.terminate().code(), Some(0));
    detach();
    assert_eq!(folders(), [Path::new(PINS)]);
    let after = fs::symlink_metadata(PINS).expect("a folder");
    assert_eq!((before.uid(), before.mode()), (after.uid(), after.mode()));
}

#[test]
fn a_folder_of_another_user_is_not_used() {
    in_world(|world| {
        fs::create_dir(PINS).expect("a folder");
        chown(PINS, Some(SOMEBODY), Some(SOMEBODY)).expect("owned");
        is_not_used(world, "belongs to user 4711");
    });
}

#[test]
fn a_folder_that_others_may_write_to_is_not_used() {
    in_world(|world| {
        fs::create_dir(PINS).expect("a folder");
        fs::set_permissions(PINS, Permissions::from_mode(0o777)).expect("permissions");
        is_not_used(world, "others may write to it");
    });
}

#[test]
fn a_link_in_the_place_of_the_folder_is_not_followed() {
    in_world(|world| {
        symlink(World::DIR, PINS).expect("a link");
        is_not_used(world, "no folder of a BPF filesystem");
    });
}
