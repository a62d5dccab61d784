//! The line of a monitoring plugin (Monitoring Plugins Development Guidelines): what was found, `|` and
//! performance data, with the exit codes 0 OK, 1 WARNING, 2 CRITICAL and 3 UNKNOWN.

use std::{fmt::Write as _, process::ExitCode};

use monitor_common::flow::Side;

use super::report::{Outcome, PortReport, Report};
use crate::{
    api::socket::Socket,
    terminal::{escape::escaped, message::message},
};

/// Findings that the line names. Of more only the number is said.
const MOST_NAMED: usize = 3;

/// How serious it is, in the guidelines' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Expected owners at most, and everything was seen.
    Ok,
    /// Connections to these ports elsewhere, or sockets that no process holds any more.
    Warning,
    /// A process that is not expected holds a port, or something takes its packets or answers.
    Critical,
    /// The look failed, or did not see everything.
    Unknown,
}

impl Status {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(match status {
            Status::Ok => 0,
            Status::Warning => 1,
            Status::Critical => 2,
            Status::Unknown => 3,
        })
    }
}

/// The line and the status of a look.
pub(super) fn line(report: &Report) -> (String, Status) {
    let found: Vec<&PortReport> = report.ports.iter().filter(|port| !port.is_quiet()).collect();
    let status = match report.outcome() {
        Outcome::Quiet => Status::Ok,
        Outcome::Unsure => Status::Unknown,
        Outcome::Found if found.iter().any(|port| is_critical(port)) => Status::Critical,
        Outcome::Found => Status::Warning,
    };
    let mut text = format!("GHOSTPORT {} - ", status.name());
    if found.is_empty() {
        let _ = write!(text, "{} of {0} ports quiet", report.ports.len());
    }
    let sentences = found.iter().map(|port| sentence(port)).take(MOST_NAMED);
    text += &sentences.collect::<Vec<_>>().join("; ");
    if let more @ 1.. = found.len().saturating_sub(MOST_NAMED) {
        let _ = write!(text, "; and {more} more");
    }
    for unseen in report.warnings().take(1) {
        let _ = write!(text, "; {unseen}");
    }
    (format!("{}|{}\n", plain(&text), performance(report)), status)
}

/// The line and the status of a look that failed.
pub(super) fn failure(error: &anyhow::Error) -> (String, Status) {
    let text = format!("GHOSTPORT UNKNOWN - {}", message(error));
    (plain(&text) + "\n", Status::Unknown)
}

/// Text before the performance data, which begin with the first `|`.
fn plain(text: &str) -> String {
    escaped(text).to_string().replace('|', "/")
}

fn is_critical(report: &PortReport) -> bool {
    report.is_held_elsewhere()
        || report.unexpected().any(is_held)
        || report.ways().next().is_some()
        || report.targeted_captures().next().is_some()
}

/// Whether a process of this host has it, or may have it.
fn is_held(socket: &Socket) -> bool {
    socket.side == Side::Local && socket.holders.as_ref().is_none_or(|holders| !holders.is_empty())
}

/// What was found on a port: the worst of it.
fn sentence(report: &PortReport) -> String {
    let port = report.port.port;
    let service = report.port.service.as_ref().map(|name| format!(" ({name})"));
    let named = format!("{port}{}", service.unwrap_or_default());
    let held = report.unexpected().filter(|socket| is_held(socket));
    if let Some(socket) = held.min_by_key(|socket| socket.holders.is_none()) {
        return format!("{named} {}", held_by(socket));
    }
    if let Some(way) = report.ways().next() {
        return way.sentence(port);
    }
    if let Some(capture) = report.targeted_captures().next() {
        return format!("{named} has its packets captured: {}", capture.filter);
    }
    match report.unexpected().next() {
        Some(socket) => format!("{named} {}", held_by(socket)),
        None => format!("{named} is held, as the agent knows, where this look did not find it"),
    }
}

fn held_by(socket: &Socket) -> String {
    let who = match socket.holders.as_ref().map(|holders| holders.first()) {
        Some(Some(holder)) => {
            format!("held by {}, pid {}", holder.name.as_deref().unwrap_or("?"), holder.pid)
        }
        Some(None) => "has a socket that no process holds".to_owned(),
        None => "has a socket whose holder is not visible".to_owned(),
    };
    let peer = socket.peer().map(|peer| format!(" to {peer}")).unwrap_or_default();
    format!("{who}, {} {}{peer}", socket.transport.name(), socket.local())
}

/// Labels and values: `quiet=4;;;0;5 sockets=1;;;0 unexpected=1;;;0`.
fn performance(report: &Report) -> String {
    let count = |socket: &Socket| socket.count;
    let all: u64 = report.ports.iter().flat_map(PortReport::sockets).map(count).sum();
    let unexpected: u64 = report.ports.iter().flat_map(PortReport::unexpected).map(count).sum();
    let quiet = report.ports.iter().filter(|port| port.is_quiet()).count();
    let ports = report.ports.len();
    format!("quiet={quiet};;;0;{ports} sockets={all};;;0 unexpected={unexpected};;;0")
}
