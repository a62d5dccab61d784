//! `ghostport check --all`: every listener of the host, with or without an agent.

mod report;
mod text;

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use self::report::Report;
use super::{command_lines::command_lines, evidence::look_at_holders};
use crate::{
    api::{client, listener},
    cli::CheckArgs,
    config::{Config, Overrides},
    process::ProcessEnricher,
    sockets::{self, ExpectedOwners},
    terminal::{
        escape::escaped,
        output::{self, CANNOT_LOOK, fail, print},
        page::Paper,
        progress::Progress,
    },
};

/// Looks, and prints the document or the table.
pub(super) async fn run(args: &CheckArgs) -> ExitCode {
    let report = match look(args).await {
        Ok(report) => report,
        Err(error) => return fail(CANNOT_LOOK, &error),
    };
    for warning in report.warnings() {
        eprintln!("ghostport: {}", escaped(&warning));
    }
    let page = if args.json {
        output::pretty_json(&report).unwrap_or_default()
    } else {
        text::page(&report, Paper::stdout())
    };
    let printed = print(page);
    if printed == ExitCode::SUCCESS { report.outcome().into() } else { printed }
}

async fn look(args: &CheckArgs) -> Result<Report> {
    let config = Config::load(args.config.path.as_deref(), &Overrides::default())?;
    let agent = listeners_of_agent().await;
    let _progress =
        Progress::start("looking at every process and network namespace", args.progress.quiet);
    let mut processes = ProcessEnricher::new(command_lines(&config));
    let mut found = sockets::find_listeners(&mut processes, None).context("cannot look")?;
    if config.listeners.expect.iter().any(|entry| entry.owner.needs_file()) {
        let sockets = found.listeners.iter_mut().map(|open| &mut open.socket);
        look_at_holders(sockets, config.evidence);
    }
    let mut owners = ExpectedOwners::default();
    owners.remember(found.listeners.iter().map(|open| &open.socket));
    Ok(Report::new(found, agent, |socket| owners.expect_listener(socket, &config.listeners)))
}

/// What a running agent knows; `None` without one that answers and watches listeners.
async fn listeners_of_agent() -> Option<listener::Listeners> {
    let answer = client::listeners().await.unwrap_or_else(|error| {
        tracing::debug!("the agent is not asked: {error:#}");
        None
    });
    answer.filter(|listeners| listeners.watched)
}
