//! `ghostport learn`: proposes whom to expect on watched ports, and which listeners, from what the store
//! has.

mod evidence;
mod proposal;
mod text;
mod write;

use std::{ops::ControlFlow, path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use self::{evidence::Evidence, proposal::Proposal};
use crate::{
    cli::LearnArgs,
    config::{Config, Overrides},
    store::{Filter, Reader, with_remedy},
    terminal::{
        escape::escaped,
        output::{CANNOT_LOOK, fail, print},
        page::Paper,
        plural::counted,
        progress::Progress,
    },
};

/// How far back is looked by default.
const DEFAULT_SINCE: Duration = Duration::from_secs(30 * 86_400);

/// Proposes entries, and writes them to a file if one is named.
pub fn run(args: &LearnArgs) -> ExitCode {
    match learn(args) {
        Ok(text) => print(text),
        Err(error) => fail(CANNOT_LOOK, &error),
    }
}

fn learn(args: &LearnArgs) -> Result<String> {
    let config = Config::load(args.config.path.as_deref(), &Overrides::default())?;
    let now = Timestamp::now();
    let since = args.since.unwrap_or(DEFAULT_SINCE);
    let evidence = {
        let _progress = Progress::start("reading the store", args.progress.quiet);
        look(&config.store.path, now, since)?
    };
    let mut proposal = Proposal::new(&evidence, &config, now);
    if let Some(file) = &args.write {
        // What the file lacks, which may be another one than the one in force.
        let count = write::merge_into(file, &proposal.additions)
            .with_context(|| format!("{} is left as it is", file.display()))?;
        let entries = counted(count, "entry was", "entries were");
        eprintln!("ghostport: {entries} added to {}", escaped(&file.display().to_string()));
    } else {
        proposal.additions = proposal.additions.missing_in(&config);
    }
    Ok(text::page(&proposal, &config, since, Paper::stdout()))
}

/// What the store has of the time.
fn look(store: &Path, now: Timestamp, since: Duration) -> Result<Evidence> {
    let reader = Reader::open(store).map_err(with_remedy)?;
    let begin = now.checked_sub(since).unwrap_or(Timestamp::MIN);
    let mut evidence = Evidence::default();
    for kind in evidence::KINDS {
        let filter = Filter { since: Some(begin), kind: Some(kind), ..Filter::default() };
        reader.each(&filter, |line| {
            evidence.add_event(line);
            ControlFlow::Continue(())
        })?;
    }
    for entry in reader.listeners()? {
        evidence.add_listener(entry, begin);
    }
    Ok(evidence)
}
