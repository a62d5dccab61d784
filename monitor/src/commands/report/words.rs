//! Sentences that the text and the Markdown have in common.

use std::time::Duration;

use crate::{
    api::report::{Caller, Coverage, Packets, PortReport, Program, Report, Verdict},
    config::quantity,
};

/// A duration in its two largest units.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    let unit = [86_400, 3600, 60, 1].into_iter().find(|unit| whole >= *unit).unwrap_or(1);
    let smallest = match unit {
        86_400 => 3600,
        3600 => 60,
        _ => 1,
    };
    quantity::format_duration(Duration::from_secs(whole / smallest * smallest))
}

/// Days and hours alone, as `180d`.
pub(super) fn period(report: &Report) -> String {
    let length = report.until.duration_since(report.since).as_secs_f64();
    let (since, until) = (report.since, report.until);
    format!("{since:.0} to {until:.0} ({})", duration(length))
}

pub(super) const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Unused => "not used",
        Verdict::Unknown => "cannot be said",
        Verdict::Used => "used",
    }
}

/// What is known of a port beside its verdict, each with its heading. What there was none of is left out,
/// but packets, binds and holders.
pub(super) fn facts(port: &PortReport) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("because", port.reasons.join("; ")),
        ("coverage", coverage(&port.coverage)),
        ("packets", packets(port)),
    ];
    let mut add = |heading, text: String| {
        if !text.is_empty() {
            facts.push((heading, text));
        }
    };
    add("callers", callers(port));
    add("binds", binds(port));
    let verdicts = port.verdicts.iter().map(|(name, count)| format!("{name} ({count})"));
    add("payloads", verdicts.collect::<Vec<_>>().join(", "));
    let states = port.states.iter().map(|(name, time)| format!("{name} for {}", duration(*time)));
    add("states", states.collect::<Vec<_>>().join(", "));
    add("left out", left_out(port));
    facts
}

fn coverage(coverage: &Coverage) -> String {
    let since = coverage.watched_since.map_or_else(
        || ", never watched".to_owned(),
        |since| format!(", watched since {since:.0}"),
    );
    let gap = match coverage.longest_gap_seconds {
        longest if longest > 0.0 => format!(", the longest gap {}", duration(longest.ceil())),
        _ => String::new(),
    };
    let (covered, all) = (duration(coverage.covered_seconds), duration(coverage.seconds));
    format!("{covered} of {all}{gap}{since}")
}

fn packets(port: &PortReport) -> String {
    let Packets { received, sent, .. } = port.packets;
    let mut parts = Vec::new();
    if received + sent > 0 {
        parts.push(format!("{received} received, {sent} sent at this host"));
    }
    if port.attempts > 0 {
        parts.push(format!("{} TCP connections attempted", port.attempts));
    }
    if port.answers > 0 {
        parts.push(format!("{} answered", port.answers));
    }
    if port.flows_begun > 0 {
        parts.push(format!("{} flows begun by this host to it elsewhere", port.flows_begun));
    }
    if let (Some(first), Some(last)) = (port.first_packet, port.last_packet) {
        parts.push(format!("from {first:.0} to {last:.0}"));
    }
    if parts.is_empty() { "none".to_owned() } else { parts.join("; ") }
}

fn callers(port: &PortReport) -> String {
    if port.callers.addresses == 0 && port.callers.talkers.is_empty() {
        return String::new();
    }
    let talkers: Vec<String> = port.callers.talkers.iter().map(caller).collect();
    let most = if talkers.is_empty() { String::new() } else { format!(": {}", talkers.join(", ")) };
    let addresses = port.callers.addresses.max(talkers.len() as u64);
    let noun = if addresses == 1 { "address" } else { "addresses" };
    format!("about {addresses} {noun}{most}")
}

fn caller(caller: &Caller) -> String {
    let Packets { received, sent, .. } = caller.packets;
    format!("{} ({received} received, {sent} sent)", caller.address)
}

fn binds(port: &PortReport) -> String {
    let (succeeded, refused) = (port.binds.succeeded, port.binds.refused);
    if succeeded + refused == 0 && port.binds.programs.is_empty() {
        return "none".to_owned();
    }
    let programs: Vec<String> = port.binds.programs.iter().map(program).collect();
    let by = if programs.is_empty() { String::new() } else { format!(": {}", programs.join(", ")) };
    format!("{succeeded} succeeded, {refused} refused{by}")
}

fn program(program: &Program) -> String {
    let name = program.executable.as_deref().unwrap_or("an unknown program");
    let user = program.user.as_ref().map(|user| format!(" of {user}")).unwrap_or_default();
    format!("{name}{user} ({})", program.succeeded + program.refused)
}

fn left_out(port: &PortReport) -> String {
    let sum = |packets: &Packets| packets.received + packets.sent;
    let mut parts = Vec::new();
    let transit = sum(&port.left_out.transit);
    if transit > 0 {
        parts.push(format!("{transit} packets that passed through this host"));
    }
    let by_chance = sum(&port.left_out.by_chance);
    if by_chance > 0 {
        parts.push(format!("{by_chance} packets of clients that have the port by chance"));
    }
    parts.join(", ")
}
