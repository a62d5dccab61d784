//! `ghostport report`: what may be said of ports for their retirement, from the history by day.

mod collect;
mod coverage;
mod markdown;
mod merge;
#[cfg(test)]
mod tests;
mod text;
mod words;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use crate::{
    api::report::{Report, Verdict},
    cli::{ReportArgs, ReportFormat},
    config::{Config, Overrides},
    store::{HistoryReader, with_remedy},
    terminal::{
        output::{CANNOT_LOOK, fail, pretty_json, print},
        page::Paper,
    },
};

/// Prints the statement.
pub fn run(args: &ReportArgs) -> ExitCode {
    let report = match report(args) {
        Ok(report) => report,
        Err(error) => return fail(CANNOT_LOOK, &error),
    };
    let page = match args.format {
        ReportFormat::Text => text::page(&report, Paper::stdout()),
        ReportFormat::Markdown => markdown::page(&report),
        ReportFormat::Json => pretty_json(&report).unwrap_or_default(),
    };
    let printed = print(page);
    if printed != ExitCode::SUCCESS {
        return printed;
    }
    match report.verdict {
        Verdict::Unused => ExitCode::SUCCESS,
        Verdict::Used => ExitCode::from(1),
        Verdict::Unknown => ExitCode::from(CANNOT_LOOK),
    }
}

fn report(args: &ReportArgs) -> Result<Report> {
    let now = Timestamp::now();
    if !args.merge.is_empty() {
        return merge::files(&args.merge, args.ports().as_deref(), now);
    }
    let config = Config::load(args.config.path.as_deref(), &Overrides::default())?;
    let reader = HistoryReader::open(&config.store.path).map_err(with_remedy)?;
    let ports = args.ports().unwrap_or_else(|| config.port_numbers().collect());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    collect::report(&reader, &ports, (args.since(now), now), &host)
        .context("the history cannot be read")
}
