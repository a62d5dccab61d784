//! `ghostport check`: one look at who holds or talks on some ports, with neither agent nor BPF.

mod progress;
mod report;
mod text;

use std::{collections::BTreeMap, io, process::ExitCode};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Deserialize;

use self::progress::Progress;
pub use self::report::{Report, serialize_sockets};
use crate::{
    api::client,
    api::port::{PortView, VerdictView},
    cli::CheckArgs,
    config::{Config, Overrides},
    process::Joiner,
    sockets,
    terminal::{
        logging,
        output::{self, CANNOT_LOOK, fail, print},
    },
};

/// What only a running agent knows of a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentFacts {
    /// State of the port, by its name.
    pub state: Option<&'static str>,
    /// Whether the port is dormant.
    pub dormant: Option<bool>,
    /// When the last packet was seen.
    pub last_packet: Option<Timestamp>,
    /// When the port was last bound.
    pub last_bind: Option<Timestamp>,
    /// Sockets that hold the port.
    pub bound_sockets: u32,
    /// What payloads on it turned out to be, the latest first.
    pub verdicts: Vec<VerdictView>,
}

/// How a look ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing holds or talks on the ports, and everything was seen.
    Quiet,
    /// Something does.
    Found,
    /// Nothing was found, but something may be where this user cannot look.
    Unsure,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Quiet => Self::SUCCESS,
            Outcome::Found => Self::from(1),
            Outcome::Unsure => Self::from(2),
        }
    }
}

/// What a running agent says of the ports that it watches; nothing without one.
pub async fn ask_agent() -> BTreeMap<u16, AgentFacts> {
    #[derive(Deserialize)]
    struct Answer {
        ports: Vec<PortView>,
    }
    let answer = client::ask::<Answer>("/api/v1/ports").await.unwrap_or_else(|error| {
        tracing::debug!("the agent is not asked: {error:#}");
        None
    });
    let ports = answer.into_iter().flat_map(|answer| answer.ports);
    ports.map(|view| (view.port, AgentFacts::from(view))).collect()
}

impl From<PortView> for AgentFacts {
    fn from(view: PortView) -> Self {
        Self {
            state: Some(view.state.name()),
            dormant: Some(view.dormant),
            last_packet: view.last_packet,
            last_bind: view.last_bind,
            bound_sockets: view.bound_sockets.tcp.saturating_add(view.bound_sockets.udp),
            verdicts: view.verdicts,
        }
    }
}

/// Looks, and prints the document or the page.
pub async fn run(args: &CheckArgs) -> ExitCode {
    let report = match look_as_asked(args).await {
        Ok(report) => report,
        Err(error) => return fail(CANNOT_LOOK, &error),
    };
    for warning in report.warnings() {
        eprintln!("ghostport: {warning}");
    }
    let page = if args.json {
        output::pretty_json(&report).unwrap_or_default()
    } else {
        report.to_text(logging::colour_is_wanted(&io::stdout()))
    };
    let printed = print(page);
    if printed == ExitCode::SUCCESS { report.outcome().into() } else { printed }
}

async fn look_as_asked(args: &CheckArgs) -> Result<Report> {
    let ports = match args.ports() {
        Some(ports) => ports,
        None => {
            let config = Config::load(args.config.path.as_deref(), &Overrides::default())?;
            config.port_numbers().collect()
        }
    };
    look(&ports, ask_agent().await).context("cannot look")
}

/// Looks at `ports`, which are in ascending order; says so on stderr when it takes long. `agent` is
/// what a running agent has said of them, empty without one.
fn look(ports: &[u16], agent: BTreeMap<u16, AgentFacts>) -> io::Result<Report> {
    let _progress = Progress::start("looking at every process and network namespace");
    let look = sockets::look(ports, &mut Joiner::new(true))?;
    Ok(Report::new(ports, look, agent))
}
