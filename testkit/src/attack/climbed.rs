//! What a part of the agent that was taken over reaches, and files that lead elsewhere.

use std::{
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::{
        fs::{PermissionsExt as _, chown, symlink},
        process::CommandExt as _,
    },
    process::{Child, Command, Stdio},
    thread,
};

use monitor_kernel::confinement::{Role, confine};

use super::{
    filter,
    measure::{Extent, Measure},
    users::{bind_times, count, within},
};
use crate::{
    agent::{Agent, Config, binary, finish, ghostport, stderr},
    attacks::CALLS,
    calls::NOBODY,
    privileges::{Privileges, SOMEBODY, ThreadStatus},
    world::{World, port},
};

/// A process of root that does nothing.
struct Victim(Child);

impl Victim {
    fn start() -> Self {
        Self(Command::new("sleep").arg("60").spawn().expect("a process of root"))
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An attacker's calls with the credentials and the filter of an agent, against a process of root.
pub(super) fn by_calls_of_the_agent(world: &World, _: Extent) -> Measure {
    world.give_to(SOMEBODY);
    let config = Config::new([port(0)]);
    let agent =
        Agent::launch(world, &config, Privileges::usual(SOMEBODY).ghostport(world, &["run"]));
    let confined = ThreadStatus::of_process(agent.pid()).expect("threads");
    let confined = confined.iter().all(|thread| thread.field("Seccomp") == "2");
    let (source, filter) = match filter::of_thread(agent.pid()) {
        Ok(filter) => ("its own filter", Some(filter)),
        Err(_) => ("the filter of this source", None),
    };
    let victim = Victim::start();
    let reached = reached(victim.0.id(), filter);
    let tried = format!("{} calls and execve, with five capabilities and {source}", CALLS.len());
    let seen = format!("every thread has a filter: {confined}; not refused: {reached:?}");
    Measure::new(tried, seen, confined && reached.is_empty())
}

/// The calls that are not refused.
fn reached(pid: u32, filter: Option<Vec<libc::sock_filter>>) -> Vec<&'static str> {
    // A thread for each: a call may change what the next one may do.
    let as_agent = |call: &(dyn Fn() -> io::Result<()> + Sync)| {
        let filter = filter.clone();
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                Privileges::five(SOMEBODY).take().expect("privileges");
                match filter {
                    Some(mut filter) => filter::install(&mut filter).expect("a filter"),
                    None => confine(Role::Agent).map(drop).expect("a filter"),
                }
                call()
            });
            thread.join().expect("no panic")
        })
    };
    let calls = CALLS.into_iter().filter(|(_, call)| as_agent(&|| call(pid)).is_ok());
    let mut reached: Vec<&str> = calls.map(|(name, _)| name).collect();
    let execute = || Command::new("/bin/true").status().map(drop);
    if as_agent(&execute).is_ok() {
        reached.push("execve");
    }
    reached
}

/// `identify` parses bytes that others made.
pub(super) fn by_the_parser(_: &World, _: Extent) -> Measure {
    let mut parser = ghostport()
        .args(["identify", "--udp", "--port", "2948", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("spawned");
    let status = within(|| {
        let threads = ThreadStatus::of_process(parser.id()).ok()?;
        let confined = threads.first()?.field("Seccomp") == "2";
        confined.then(|| threads.iter().map(|thread| thread.set("CapEff")).collect::<Vec<_>>())
    });
    parser.stdin.take().expect("piped").write_all(b"x").expect("written");
    parser.wait().expect("waited");
    let none = status.as_ref().is_some_and(|sets| sets.iter().all(|set| set.is_empty()));
    let filtered = if status.is_some() { "a filter" } else { "NO filter" };
    let capabilities = if none { "no capability" } else { "capabilities of root" };
    let seen = format!("{filtered}, {capabilities}");
    Measure::new("identify, started as root", seen, status.is_some() && none)
}

/// `setcap` on the program lets every user start it with the right to read everything.
pub(super) fn by_file_capabilities(world: &World, _: Extent) -> Measure {
    let tried = "config check --config FILE by a user, of a file that is closed to that user";
    let secret = world.path("secret");
    fs::write(&secret, "root:hash-of-root\n").expect("written");
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).expect("closed");
    let program = world.path("granted");
    fs::copy(binary(), &program).expect("copied");
    let granted = Command::new("setcap").arg("cap_dac_read_search+ep").arg(&program).status();
    if !granted.is_ok_and(|status| status.success()) {
        return Measure::skipped(tried, "no setcap here");
    }
    let mut command = Command::new(program);
    command.args(["config", "check", "--config"]).arg(&secret).uid(SOMEBODY).gid(SOMEBODY);
    let said = stderr(&finish(&mut command));
    let shown = said.contains("hash-of-root");
    let seen = if shown { "shows its first line" } else { "Permission denied" };
    Measure::new(tried, seen, !shown && said.contains("Permission denied"))
}

/// A sink's file, in a folder of another user, is a link to a file of root's.
pub(super) fn by_links_in_its_folders(world: &World, _: Extent) -> Measure {
    let tried = "a link to root's profile in place of a sink's file, in a folder of nobody's";
    let (profile, folder) = (world.path("profile"), world.path("log"));
    fs::write(&profile, "of root\n").expect("written");
    fs::create_dir(&folder).expect("a folder");
    chown(&folder, Some(NOBODY), Some(NOBODY)).expect("owned");
    // An agent of root's writes there without the capability to write everywhere.
    fs::set_permissions(&folder, Permissions::from_mode(0o777)).expect("open");
    let sink = folder.join("linked.jsonl");
    let config =
        Config::new([port(0)]).with_sinks([format!("{{kind: file, path: {}}}", sink.display())]);
    // The link comes while the agent runs: one that is there at the start may stop it.
    let agent = Agent::start(world, &config);
    fs::remove_file(&sink).expect("removed");
    symlink(&profile, &sink).expect("a link");
    bind_times(port(0), 5);
    let seen_events = within(|| (count(&agent.events(), "bind", port(0)) >= 5).then_some(()));
    let written = fs::read_to_string(&profile).expect("readable") != "of root\n";
    let lost = agent.metrics().sum("ghostport_events_lost_total", &[("stage", "sink")]);
    let what = if written { "events in root's file" } else { "root's file is as it was" };
    let seen = format!("{what}; {lost} events of that sink lost");
    Measure::new(tried, seen, !written && seen_events.is_some())
}
