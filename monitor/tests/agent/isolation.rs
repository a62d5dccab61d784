//! The tests leave the machine alone: what their agents write stays in their worlds.

use std::{fs, path::Path, process::Stdio};

use testkit::{
    agent::{LISTEN, ghostport},
    eventually, http,
    world::in_world,
};

const STORE: &str = "/var/lib/ghostport/ghostport.db";

/// The places of the defaults: what an agent without any configuration opens and writes.
#[test]
fn agents_without_configuration_do_not_share_a_store() {
    let modified = || fs::metadata(STORE).and_then(|store| store.modified()).ok();
    let before = modified();
    for _ in 0..2 {
        in_world(|world| {
            assert!(!Path::new(STORE).exists(), "{STORE} is there: this world shares a store");
            let path = world.path("defaults.yaml");
            fs::write(&path, "").expect("written");
            let mut command = ghostport();
            command.args(["run", "--config"]).arg(path);
            let mut agent =
                command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("spawned");
            let server = ([127, 0, 0, 1], LISTEN).into();
            eventually("a store", || {
                http::get(server, "/readyz").ok().filter(|ready| ready.status == 200)?;
                Path::new(STORE).exists().then_some(())
            });
            agent.kill().expect("killed");
            agent.wait().expect("waited");
        });
    }
    assert_eq!(modified(), before, "{STORE} of this machine has changed");
}

#[test]
fn files_in_the_folders_of_an_agent_stay_in_their_world() {
    let places =
        ["/var/lib/ghostport", "/var/log/ghostport", "/run/ghostport", "/sys/fs/bpf/ghostport"];
    let file = |place: &str| Path::new(place).join("file-of-a-test");
    in_world(|_| {
        for place in places {
            fs::create_dir_all(place).expect(place);
            assert_eq!(fs::read_dir(place).expect(place).count(), 0, "{place} is not empty");
            // A BPF filesystem takes folders and no files.
            let _ = fs::create_dir(file(place));
            assert!(file(place).exists(), "{place}");
        }
    });
    for place in places {
        assert!(!file(place).exists(), "{place} of this machine");
    }
}
