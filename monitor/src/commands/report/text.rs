//! The statement as text.

use std::fmt::{self, Write as _};

use anstyle::AnsiColor;

use super::words;
use crate::{
    api::report::{DayReport, HostReport, PortReport, Report, Verdict},
    terminal::{
        escape::escaped,
        page::{Page, Paper},
    },
};

/// Column of what is known.
const INDENT: usize = 12;

/// Holders and days that are shown, the newest.
const MOST_ROWS: usize = 31;

pub(super) fn page(report: &Report, paper: Paper) -> String {
    Page::written(paper, |page| write(page, report))
}

fn write(page: &mut Page, report: &Report) -> fmt::Result {
    let hosts = match &report.hosts[..] {
        [host] => host.host.clone(),
        hosts => format!("{} hosts", hosts.len()),
    };
    page.paragraph("", 0, &format!("{hosts}, {}", words::period(report)))?;
    for host in &report.hosts {
        gaps(page, host, report.hosts.len() > 1)?;
    }
    for of_port in report.ports.chunk_by(|a, b| a.port == b.port) {
        writeln!(page)?;
        if of_port.len() > 1 {
            fleet(page, of_port)?;
        }
        for port in of_port {
            // Of many hosts, those of which there is nothing to say are a number.
            if of_port.len() == 1 || port.verdict != Verdict::Unused {
                self::port(page, port, report.hosts.len() > 1)?;
            }
        }
    }
    if report.ports.is_empty() {
        writeln!(page, "\nno port to report")?;
    }
    Ok(())
}

fn gaps(page: &mut Page, host: &HostReport, is_one_of_many: bool) -> fmt::Result {
    let name = if is_one_of_many { format!("{}: ", host.host) } else { String::new() };
    if host.gap_count > 0 {
        let longest = host.gaps.iter().map(|gap| gap.seconds).fold(0.0, f64::max);
        let all: f64 = host.gaps.iter().map(|gap| gap.seconds).sum();
        let count = host.gap_count;
        let noun = if count == 1 { "gap" } else { "gaps" };
        let (all, longest) = (words::duration(all.ceil()), words::duration(longest.ceil()));
        let text =
            format!("{name}{count} {noun} without an agent, {all} together, the longest {longest}");
        page.paragraph("", 0, &text)?;
    }
    if host.events_lost > 0 {
        let text = format!(
            "{name}{} events were lost; packets and binds are counted all the same",
            host.events_lost
        );
        page.paragraph("", 0, &text)?;
    }
    Ok(())
}

fn heading(port: &PortReport) -> String {
    let service = port.service.as_deref().map(|name| format!(" {}", escaped(name)));
    format!("{}{}", port.port, service.unwrap_or_default())
}

fn fleet(page: &mut Page, ports: &[PortReport]) -> fmt::Result {
    let count = |verdict| ports.iter().filter(|port| port.verdict == verdict).count();
    let [used, unknown] = [Verdict::Used, Verdict::Unknown].map(count);
    let of = ports.len();
    let text = format!("used on {used} of {of} hosts, cannot be said on {unknown}");
    page.paragraph(&format!("{}: ", heading(&ports[0])), 2, &text)
}

fn port(page: &mut Page, port: &PortReport, has_host: bool) -> fmt::Result {
    let style = match port.verdict {
        Verdict::Unused => AnsiColor::Cyan.on_default(),
        Verdict::Unknown => AnsiColor::Yellow.on_default().bold(),
        Verdict::Used => AnsiColor::Magenta.on_default().bold(),
    };
    let name = page.styled(style, &heading(port));
    let host = if has_host { format!(" on {}", escaped(&port.host)) } else { String::new() };
    writeln!(page, "{name}{host}: {}", words::verdict(port.verdict))?;
    for (heading, text) in words::facts(port) {
        fact(page, heading, &text)?;
    }
    let holders = port.holders.len().saturating_sub(MOST_ROWS);
    if holders > 0 {
        fact(page, "held by", &format!("{holders} before these"))?;
    }
    for holder in &port.holders[holders..] {
        fact(page, "held by", &holder.sentence())?;
    }
    days(page, &port.days)
}

fn fact(page: &mut Page, heading: &str, text: &str) -> fmt::Result {
    page.paragraph(&format!("  {heading:<width$}", width = INDENT - 2), INDENT, text)
}

fn days(page: &mut Page, days: &[DayReport]) -> fmt::Result {
    if days.is_empty() {
        return Ok(());
    }
    let row = |cells: [&str; 7]| {
        let [day, covered, received, sent, from, binds, held] = cells;
        format!("{day:<10}  {covered:>8} {received:>9} {sent:>9} {from:>9} {binds:>7}  {held}")
    };
    let first = days.len().saturating_sub(MOST_ROWS);
    let head = ["day (UTC)", "covered", "received", "sent", "addresses", "binds", "held"];
    page.cut_line(2, &row(head))?;
    if first > 0 {
        page.cut_line(2, &format!("{first} days before"))?;
    }
    for day in &days[first..] {
        let numbers =
            [day.packets.received, day.packets.sent, day.addresses, day.binds + day.refused]
                .map(|number| number.to_string());
        let [received, sent, addresses, binds] = &numbers;
        let held = if day.held { "yes" } else { "" };
        let covered = words::duration(day.covered_seconds);
        page.cut_line(2, &row([&day.day, &covered, received, sent, addresses, binds, held]))?;
    }
    Ok(())
}
