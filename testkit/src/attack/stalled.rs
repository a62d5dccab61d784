//! Processes that a reader waits for.

use std::{env, path::PathBuf, time::Instant};

use super::{
    measure::{Extent, Measure},
    users::{bind_times, count, within},
};
use crate::{
    agent::{Agent, Config, finish, ghostport},
    hanging_mount::HangingMount,
    stuck::StuckProcess,
    world::{World, port},
};

/// Binds of others while a process is stuck.
const BINDS: u64 = 50;

const NO_FUSE: &str = "no FUSE here";

/// A page of a FUSE file system that is never served, and a writer who waits behind its reader.
pub(super) fn by_a_locked_memory_map(world: &World, _: Extent) -> Measure {
    let tried = "a bind by a process whose command line cannot be read, then 50 by others";
    let Some(mount) = HangingMount::new(&world.path("hanging"), "page", &this()) else {
        return Measure::skipped(tried, NO_FUSE);
    };
    mount.hang_reads();
    let process = StuckProcess::start(&this(), port(0), Some(&mount.file()));
    let mut waiting = Waiting { _mount: mount, process };
    let agent = Agent::start(world, &config());
    others_are_seen(world, agent, &mut waiting.process, tried)
}

/// The executable is on a FUSE file system that answers nothing.
pub(super) fn by_a_hanging_file_system(world: &World, _: Extent) -> Measure {
    let tried = "a bind by a program on a FUSE mount that hangs, then 50 by others";
    let name = "program (deleted)";
    let Some(mount) = HangingMount::new(&world.path("hanging"), name, &this()) else {
        return Measure::skipped(tried, NO_FUSE);
    };
    let process = StuckProcess::start(&mount.file(), port(0), None);
    let agent = Agent::start(world, &config());
    mount.hang();
    let mut waiting = Waiting { _mount: mount, process };
    others_are_seen(world, agent, &mut waiting.process, tried)
}

/// The file system goes first: nothing else ends the wait.
struct Waiting {
    _mount: HangingMount,
    process: StuckProcess,
}

fn this() -> PathBuf {
    env::current_exe().expect("a path")
}

fn config() -> Config {
    Config::new([port(0), port(1)])
}

fn others_are_seen(
    world: &World,
    agent: Agent,
    process: &mut StuckProcess,
    tried: &str,
) -> Measure {
    process.bind();
    bind_times(port(1), BINDS);
    let seen = || count(&agent.events(), "bind", port(1));
    let all = within(|| (seen() == BINDS as usize).then_some(())).is_some();
    let (events, ready) = (seen(), agent.get("/readyz").status);
    let check =
        finish(ghostport().args(["check", "--json", "--config"]).arg(config().write(world)));
    let began = Instant::now();
    let ended = agent.terminate().success();
    let seconds = began.elapsed().as_secs_f32();
    let has_looked = check.status.code().is_some();
    let ends = if has_looked { "ends" } else { "HANGS" };
    let seen = format!(
        "{events} of {BINDS} events; /readyz {ready}; check {ends}; SIGTERM took {seconds:.1} s"
    );
    Measure::new(tried, seen, all && ready == 200 && has_looked && ended)
}
