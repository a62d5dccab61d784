//! The audit as a program: what a local user, a packet or a part that was taken over can do to an agent,
//! tried against the real program in namespaces of its own.
//!
//! An attack returns what it measured; one that panics could not be carried out, which counts as a
//! success of the attacker, because nothing was shown.

mod blinded;
mod climbed;
mod drowned;
mod filter;
mod fooled;
mod forgets;
mod handshakes;
mod measure;
mod overheard;
mod shut_out;
mod stalled;
mod stays;
mod users;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

pub use self::measure::{Extent, Measure, Verdict};
use crate::world::{World, in_world};

/// An attack.
#[derive(Clone, Copy)]
pub struct Attack {
    /// What it would do to the agent.
    pub aim: &'static str,
    /// What it is.
    pub name: &'static str,
    run: fn(&World, Extent) -> Measure,
}

const fn attack(
    aim: &'static str,
    name: &'static str,
    run: fn(&World, Extent) -> Measure,
) -> Attack {
    Attack { aim, name, run }
}

/// All attacks.
pub const ATTACKS: &[Attack] = &[
    attack("stall", "a caller whose memory map is locked", stalled::by_a_locked_memory_map),
    attack("stall", "a caller on a file system that hangs", stalled::by_a_hanging_file_system),
    attack("drown", "four loops of binds", drowned::by_loops_of_binds),
    attack("drown", "forged datagrams", drowned::by_forged_datagrams),
    attack("drown", "handshakes with a large key", handshakes::with_a_large_key),
    attack("blind", "pins are removed", blinded::by_removed_pins),
    attack("blind", "a folder of pins made beforehand", blinded::by_a_folder_made_beforehand),
    attack("blind", "garbage among the pins", blinded::by_garbage_among_the_pins),
    attack("climb", "calls of an agent that is taken over", climbed::by_calls_of_the_agent),
    attack("climb", "calls of a parser that is taken over", climbed::by_the_parser),
    attack("climb", "files read by capabilities of the program", climbed::by_file_capabilities),
    attack("climb", "links where the agent writes", climbed::by_links_in_its_folders),
    attack("fool", "bind, then execute the expected program", fooled::by_executing_after_the_bind),
    attack("fool", "a socket passed on by an expected owner", fooled::by_passing_a_socket_on),
    attack("fool", "a claimed executable", fooled::by_claiming_an_executable),
    attack("overhear", "details over loopback", overheard::over_loopback),
    attack("overhear", "a proxy with a loopback Host", overheard::by_a_proxy),
    attack("shut out", "idle connections", shut_out::by_idle_connections),
    attack("shut out", "wrong passwords", shut_out::by_wrong_passwords),
    attack("shut out", "a FIFO in a file's place", shut_out::by_a_fifo),
    attack("forget", "a store that is no store", forgets::by_another_store),
    attack("forget", "bad rows and views", forgets::by_bad_rows_and_views),
    attack("forget", "a clock a year ahead", forgets::by_a_clock_ahead),
    attack("break", "hosts, origins and paths", stays::by_hosts_and_paths),
    attack("break", "smuggled and endless requests", stays::by_broken_requests),
    attack("break", "hostile names", stays::by_hostile_names),
    attack("break", "streams that are never read", stays::by_streams_that_are_never_read),
    attack("break", "kill -9 in a loop", stays::by_killing_it),
    attack("break", "hostile frames", stays::by_hostile_frames),
    attack("break", "mutated captures", stays::by_mutated_captures),
    attack("break", "mutated configurations", stays::by_mutated_configurations),
];

/// Carries out the attacks whose names contain `filter`, and says on standard error how far it is.
/// Returns what came of each.
pub fn carry_out(filter: &str, extent: Extent) -> Vec<(Attack, Measure)> {
    let chosen: Vec<&Attack> = ATTACKS
        .iter()
        .filter(|attack| attack.name.contains(filter) || attack.aim.contains(filter))
        .collect();
    let mut outcomes = Vec::new();
    for (number, attack) in chosen.iter().enumerate() {
        eprintln!("attack {}/{}: {}: {}", number + 1, chosen.len(), attack.aim, attack.name);
        let began = Instant::now();
        let measure = tried(attack, extent);
        let seconds = began.elapsed().as_secs_f32();
        eprintln!("  {} after {seconds:.1} s: {}", measure.verdict.name(), measure.seen);
        outcomes.push((**attack, measure));
    }
    outcomes
}

fn tried(attack: &Attack, extent: Extent) -> Measure {
    let mut measure = None;
    let run = AssertUnwindSafe(|| in_world(|world| measure = Some((attack.run)(world, extent))));
    match (catch_unwind(run), measure) {
        (Ok(()), Some(measure)) => measure,
        (Err(panic), _) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            let first = text.lines().next().unwrap_or_default();
            Measure::new("not carried out to its end", first, false)
        }
        (Ok(()), None) => Measure::new("", "nothing was measured", false),
    }
}

/// The outcomes as a table in Markdown.
pub fn table(outcomes: &[(Attack, Measure)]) -> String {
    let mut text = String::from("| aim | attack | what was tried | measure | verdict |\n");
    text.push_str("| --- | --- | --- | --- | --- |\n");
    for (Attack { aim, name, .. }, Measure { tried, seen, verdict }) in outcomes {
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        text.push_str(&format!(
            "| {aim} | {name} | {} | {} | {} |\n",
            cell(tried),
            cell(seen),
            verdict.name()
        ));
    }
    text
}
