//! `ghostport doctor`: what this kernel and these privileges allow, the mechanism of each hook, why
//! the better ones are not used, and what to do about it.
//!
//! Where an agent runs, the hooks are those that it has attached. Without one doctor tries them: it
//! loads the programs, attaches the socket hooks for a moment, and the TC and generic XDP programs
//! to the loopback interface of a private network namespace. It never touches an interface of the
//! host, because attaching native XDP can reset a link.

mod addresses;
mod agent;
mod automatic_ports;
mod blind_spots;
mod facts;
mod hooks;
mod interfaces;
mod other_programs;
mod report;
mod runs;
mod text;

use std::process::ExitCode;

use self::report::Report;
use crate::{
    cli::DoctorArgs,
    config::{Config, Overrides},
    terminal::{
        logging::{self, LogLevel},
        output::{self, CANNOT_LOOK, fail, print},
        page::Paper,
        progress::Progress,
    },
};

/// Looks, and prints the document or the page.
pub async fn run(args: &DoctorArgs) -> ExitCode {
    logging::init_for_command(LogLevel::Error);
    let progress = Progress::start("trying the hooks on this host", args.progress.quiet);
    let report = async {
        let config = Config::load(args.config.path.as_deref(), &Overrides::default())?;
        Report::make(&config).await
    };
    let report = match report.await {
        Ok(report) => report,
        Err(error) => return fail(CANNOT_LOOK, &error),
    };
    drop(progress);
    let page = if args.json {
        output::pretty_json(&report).unwrap_or_default()
    } else {
        text::page(&report, Paper::stdout())
    };
    print(page);
    report.health.into()
}
