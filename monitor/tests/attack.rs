//! Attacks on an agent, as a program without a harness of tests: `cargo xtask attack` runs it whole, and
//! `cargo xtask test` in its short form.

use std::{env, panic, process::ExitCode};

use testkit::{
    attack::{ATTACKS, Extent, Verdict, carry_out, table},
    impostor, stuck,
};

const USAGE: &str = "attack [--whole] [--set-clock] [--list] [WORD]
Carries out the attacks whose names contain WORD, in namespaces of their own, as root.";

fn main() -> ExitCode {
    // What an attack starts in the place of a hostile program.
    for (is_ordered, act) in [
        (stuck::is_ordered(), stuck::act_as_ordered as fn()),
        (impostor::is_ordered(), impostor::act_as_ordered),
    ] {
        if is_ordered {
            act();
            return ExitCode::SUCCESS;
        }
    }
    let mut extent = Extent { is_short: true, may_set_clock: false };
    let mut word = String::new();
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match &*argument {
            "--whole" => extent.is_short = false,
            "--set-clock" => extent.may_set_clock = true,
            "--list" => return list(),
            "--help" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            // Options of the harness, which every program of tests may be given.
            "--test-threads" | "--skip" | "--format" | "--color" => drop(arguments.next()),
            _ if argument.starts_with('-') => {}
            _ => word = argument,
        }
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("error: attacks need root, to make namespaces and to become other users");
        return ExitCode::from(2);
    }
    // The table says the first line of it.
    panic::set_hook(Box::new(|panic| eprintln!("  {panic}")));
    let outcomes = carry_out(&word, extent);
    println!("{}", table(&outcomes));
    let count = |verdict| outcomes.iter().filter(|(_, measure)| measure.verdict == verdict).count();
    let [repelled, succeeded, skipped] =
        [Verdict::Repelled, Verdict::Succeeded, Verdict::Skipped].map(count);
    eprintln!("attack: {repelled} repelled, {succeeded} succeeded, {skipped} skipped");
    if succeeded == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn list() -> ExitCode {
    for attack in ATTACKS {
        println!("{}: {}", attack.aim, attack.name);
    }
    ExitCode::SUCCESS
}
