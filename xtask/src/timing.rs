//! Durations of steps, for the table at the end of `.ci/run`.

use std::{env, fs::OpenOptions, io::Write as _, time::Duration};

/// The file that collects durations, if one is wanted.
const FILE: &str = "GHOSTPORT_TIMES";

/// Adds a line to the file that the environment names. A table that lacks a line fails no build.
pub(crate) fn record(step: &str, name: &str, duration: Duration) {
    let Some(file) = env::var_os(FILE) else { return };
    let file = OpenOptions::new().append(true).create(true).open(file);
    let written =
        file.and_then(|mut file| writeln!(file, "{:.1}\t{step}\t{name}", duration.as_secs_f64()));
    if let Err(error) = written {
        eprintln!("{step}: cannot note how long {name} took: {error}");
    }
}
