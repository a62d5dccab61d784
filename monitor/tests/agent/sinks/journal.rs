//! A real journal.

use std::{path::Path, process::Command};

use serde_json::Value;
use testkit::{
    agent::{Agent, Config},
    eventually, try_sh,
    world::{in_world, port},
};

use super::support::{Daemon, bind, lost};

const JOURNALD: &str = "/lib/systemd/systemd-journald";

#[test]
fn the_journal_receives_every_field() {
    if !Path::new(JOURNALD).exists() {
        return eprintln!("skipped: there is no {JOURNALD}");
    }
    in_world(|world| {
        let journald = Daemon::start(&mut Command::new(JOURNALD));
        let socket = Path::new("/run/systemd/journal/socket");
        eventually("journald", || socket.exists().then_some(()));
        let agent =
            Agent::start(world, &Config::new([port(0)]).with_sinks(["{kind: journal}".into()]));
        bind(0);
        let entry = eventually("the entry", || {
            let (read, entries) = try_sh("journalctl -D /run/log/journal -o json -t ghostport");
            let entries =
                entries.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let is_it = |entry: &Value| entry["EVENT_NAME"] == "ghostport.unexpected_owner";
            read.then_some(())?;
            entries.into_iter().find(is_it)
        });
        assert_eq!(entry["NETWORK_LOCAL_PORT"], port(0).to_string());
        assert_eq!(entry["PROCESS_PID"], std::process::id().to_string());
        assert_eq!(entry["_PID"], agent.pid().to_string(), "the journal knows who has told it");
        assert_eq!(entry["PRIORITY"], "2", "critical");
        assert_eq!(lost(&agent), 0.0);

        // Without journald, events are lost and counted.
        drop(journald);
        std::fs::remove_file(socket).expect("removed");
        bind(0);
        eventually("losses", || (lost(&agent) > 0.0).then_some(()));
    });
}
