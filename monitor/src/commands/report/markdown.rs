//! The statement as Markdown, for a ticket.

use std::fmt::{self, Write as _};

use super::words;
use crate::{
    api::report::{PortReport, Report},
    terminal::escape::escaped,
};

pub(super) fn page(report: &Report) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut page, report);
    page
}

fn write(page: &mut String, report: &Report) -> fmt::Result {
    writeln!(page, "# Use of ports\n\n{}\n", words::period(report))?;
    writeln!(page, "| port | host | verdict | why |\n| --- | --- | --- | --- |")?;
    for port in &report.ports {
        let why = port.reasons.join("; ");
        let verdict = words::verdict(port.verdict);
        writeln!(
            page,
            "| {} | {} | {verdict} | {} |",
            heading(port),
            cell(&port.host),
            cell(&why)
        )?;
    }
    writeln!(page, "\n| host | history since | gaps | events lost |\n| --- | --- | --- | --- |")?;
    for host in &report.hosts {
        let began = host.history_began.map_or_else(String::new, |began| format!("{began:.0}"));
        let all: f64 = host.gaps.iter().map(|gap| gap.seconds).sum();
        let (gaps, lost) = (host.gap_count, host.events_lost);
        let all = words::duration(all.ceil());
        writeln!(page, "| {} | {began} | {gaps}, {all} together | {lost} |", cell(&host.host))?;
    }
    report.ports.iter().try_for_each(|port| write_port(page, port))
}

fn heading(port: &PortReport) -> String {
    let service = port.service.as_deref().map(|name| format!(" {}", cell(name)));
    format!("{}{}", port.port, service.unwrap_or_default())
}

fn write_port(page: &mut String, port: &PortReport) -> fmt::Result {
    writeln!(page, "\n## {} on {}\n", heading(port), cell(&port.host))?;
    // The table above has the reasons.
    for (heading, text) in words::facts(port).into_iter().skip(1) {
        writeln!(page, "- {heading}: {}", cell(&text))?;
    }
    for holder in &port.holders {
        writeln!(page, "- held by {}", cell(&holder.sentence()))?;
    }
    if port.days.is_empty() {
        return Ok(());
    }
    writeln!(
        page,
        "\n| day (UTC) | covered | received | sent | flows begun | addresses | binds | refused | held |\n\
         | --- | --: | --: | --: | --: | --: | --: | --: | --- |"
    )?;
    for day in &port.days {
        writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            day.day,
            words::duration(day.covered_seconds),
            day.packets.received,
            day.packets.sent,
            day.flows_begun,
            day.addresses,
            day.binds,
            day.refused,
            if day.held { "yes" } else { "" },
        )?;
    }
    Ok(())
}

/// Text that others may have chosen, without effect in Markdown.
fn cell(text: &str) -> String {
    let mut safe = String::new();
    for character in escaped(text).chars() {
        if matches!(
            character,
            '|' | '*' | '_' | '`' | '<' | '>' | '[' | ']' | '\\' | '#' | '!' | '&'
        ) {
            safe.push('\\');
        }
        safe.push(character);
    }
    safe
}
