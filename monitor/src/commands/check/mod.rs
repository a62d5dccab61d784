//! `ghostport check`: one look at the processes that hold or talk on some ports, without agent or BPF.

mod all;
mod command_lines;
mod evidence;
mod nagios;
mod report;
#[cfg(test)]
mod tests;
mod text;
mod then;

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use monitor_common::flow::Protocol;

use self::{
    command_lines::command_lines,
    evidence::look_at_holders,
    report::{Beside, Report},
};
use crate::{
    api::{client, port::Port},
    cli::CheckArgs,
    config::{Config, Overrides},
    process::ProcessEnricher,
    sockets::{self, ExpectedOwners, Extent},
    terminal::{
        escape::escaped,
        output::{self, CANNOT_LOOK, fail, print},
        page::Paper,
        progress::Progress,
    },
};

/// Looks, and prints the document or the page.
pub async fn run(args: &CheckArgs) -> ExitCode {
    if args.all {
        return all::run(args).await;
    }
    if let Some(at) = args.at {
        return then::run(args, at.before(Timestamp::now()));
    }
    let report = report(args).await;
    if args.nagios {
        return plugin(report);
    }
    let report = match report {
        Ok(report) => report,
        Err(error) => return fail(CANNOT_LOOK, &error),
    };
    for warning in report.warnings() {
        eprintln!("ghostport: {}", escaped(&warning));
    }
    if sockets::has_unread_rules() {
        eprintln!(
            "ghostport: tables of iptables-legacy may lead packets elsewhere: their rules are not \
             read, only connections that they translate"
        );
    }
    let page = if args.json {
        output::pretty_json(&report).unwrap_or_default()
    } else {
        text::page(&report, Paper::stdout())
    };
    let printed = print(page);
    if printed == ExitCode::SUCCESS { report.outcome().into() } else { printed }
}

/// One line, and the exit code of a monitoring plugin.
fn plugin(report: Result<Report>) -> ExitCode {
    let (line, status) = match report {
        Ok(report) => nagios::line(&report),
        Err(error) => nagios::failure(&error),
    };
    let printed = print(line);
    if printed == ExitCode::SUCCESS { status.into() } else { nagios::Status::Unknown.into() }
}

async fn report(args: &CheckArgs) -> Result<Report> {
    let config = Config::load(args.config.path.as_deref(), &Overrides::default());
    let (ports, config) = match (args.ports(), config) {
        (None, config) => {
            let config = config?;
            (config.port_numbers().collect(), config)
        }
        (Some(ports), Ok(config)) => (ports, config),
        (Some(ports), Err(error)) => {
            let error = escaped(&format!("{error:#}")).to_string();
            eprintln!("ghostport: no owner counts as expected: {error}");
            (ports, Config { ports: Vec::new(), ..Config::default() })
        }
    };
    let agent = ports_of_agent().await;
    let _progress =
        Progress::start("looking at every process and network namespace", args.progress.quiet);
    let mut processes = ProcessEnricher::new(command_lines(&config));
    let mut scan = sockets::scan(&ports, &mut processes).context("cannot look")?;
    look_at_holders(&mut scan.sockets, config.evidence);
    ExpectedOwners::default().judge(&mut scan.sockets, &config);
    let wanted: Vec<(u16, Protocol)> =
        ports.iter().flat_map(|port| Protocol::ALL.map(|protocol| (*port, protocol))).collect();
    let mut reaches = sockets::find_paths(&wanted, Extent::Everywhere, &mut processes)
        .context("cannot look at how the ports are reached")?;
    reaches.extend(
        sockets::find_programs(&wanted, &scan.captures, &mut processes)
            .context("cannot look at the programs that may take packets")?,
    );
    let forwardings = sockets::find_forwardings(&scan.sockets, &mut processes)
        .context("cannot look at the containers behind the ports")?;
    let beside = Beside {
        reaches: &reaches,
        forwardings: &forwardings,
        has_seen_tables: sockets::tables_are_readable(),
    };
    Ok(Report::new(&ports, scan, beside, agent))
}

/// The ports that a running agent watches; none without an agent that answers.
async fn ports_of_agent() -> BTreeMap<u16, Port> {
    let ports = client::ports().await.unwrap_or_else(|error| {
        tracing::debug!("the agent is not asked: {error:#}");
        None
    });
    ports.into_iter().flatten().map(|port| (port.port, port)).collect()
}
