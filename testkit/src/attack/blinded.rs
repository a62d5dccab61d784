//! Pins that are gone, another's, or none.

use std::{
    fs,
    os::unix::fs::{chown, symlink},
    path::Path,
};

use super::{
    measure::{Extent, Measure},
    users::{bind_times, within},
};
use crate::{
    agent::{Agent, Config, PINS},
    calls::NOBODY,
    world::{World, port},
};

const BINDS: u64 = 100;

fn config() -> Config {
    Config::new([port(0)])
}

/// Binds, and says how many of them were counted.
fn measured(agent: &Agent, tried: &str) -> Measure {
    let counted =
        || agent.metrics().sum("ghostport_binds_total", &[("port", &port(0).to_string())]);
    let before = counted();
    bind_times(port(0), BINDS);
    let all = within(|| (counted() - before == BINDS).then_some(())).is_some();
    let seen = format!("{} of {BINDS} binds counted", counted() - before);
    Measure::new(tried, seen, all)
}

/// Links are removed by a user who may write there.
pub(super) fn by_removed_pins(world: &World, _: Extent) -> Measure {
    let agent = Agent::start(world, &config());
    fs::remove_dir_all(PINS).expect("removed");
    measured(&agent, "rm -r /sys/fs/bpf/ghostport, then 100 binds")
}

/// Another user made the folder of pins before the agent did.
pub(super) fn by_a_folder_made_beforehand(world: &World, _: Extent) -> Measure {
    fs::create_dir(PINS).expect("a folder");
    chown(PINS, Some(NOBODY), Some(NOBODY)).expect("owned");
    let agent = Agent::start(world, &config());
    let used = fs::read_dir(PINS).expect("a folder").count();
    let mut measure = measured(&agent, "the folder of pins belongs to nobody; 100 binds");
    measure.seen.push_str(&format!("; {used} pins in that folder"));
    if used > 0 {
        measure = Measure::new(measure.tried, measure.seen, false);
    }
    measure
}

/// Folders, links and maps where links belong.
pub(super) fn by_garbage_among_the_pins(world: &World, _: Extent) -> Measure {
    let agent = Agent::start(world, &config());
    agent.kill9();
    let pin = |name: &str| Path::new(PINS).join(name);
    for folder in ["links/nested/deeper", "unknown/deeper", "maps/nested"] {
        fs::create_dir_all(pin(folder)).expect("a folder");
    }
    symlink("/etc", pin("links/link")).expect("a link");
    fs::hard_link(pin("maps/ERRORS"), pin("links/garbage")).expect("pinned");
    fs::remove_file(pin("maps/SAMPLES")).expect("removed");
    fs::hard_link(pin("maps/ERRORS"), pin("maps/SAMPLES")).expect("pinned");
    let agent = Agent::start(world, &config());
    measured(&agent, "folders, links and wrong maps among the pins; a start, 100 binds")
}
