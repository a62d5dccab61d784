//! `ghostport explain`: the catalogue for a terminal.

use std::{
    fmt::{self, Write as _},
    process::ExitCode,
};

use anyhow::anyhow;

use crate::{
    catalogue::{CATALOGUE, Entry, Service, lookup},
    cli::ExplainArgs,
    terminal::{
        output::{CANNOT_LOOK, fail, print},
        page::{Page, Paper},
        table::{Cell, Column, Row},
    },
};

/// The table of all ports.
const COLUMNS: [Column; 4] = [
    Column::new("PORT", 5).right(),
    Column::new("SERVICE", 15),
    Column::new("ERA", 13),
    Column::new("LIKELY THERE TODAY", 30).growing(1, usize::MAX).wrapped(),
];

/// Column at which the text of a row begins.
const INDENT: usize = 10;

/// Prints the page of a port, or the table of all ports.
pub fn run(args: &ExplainArgs) -> ExitCode {
    let Some(port) = args.port else { return print(table(args.sources, Paper::stdout())) };
    match explain(port, args.sources, Paper::stdout()) {
        Some(page) => print(page),
        None => fail(
            CANNOT_LOOK,
            &anyhow!("nothing is known of port {port}: IANA registered no service for it"),
        ),
    }
}

/// The page of a port; `None` for one that neither catalogue nor registry has.
fn explain(port: u16, with_sources: bool, paper: Paper) -> Option<String> {
    lookup(port).map(|service| written(paper, |page| page.explanation(service, with_sources)))
}

/// One row for each port of the catalogue.
fn table(with_sources: bool, paper: Paper) -> String {
    written(paper, |page| page.table(with_sources))
}

fn written(paper: Paper, write: impl FnOnce(&mut Writer<'_>) -> fmt::Result) -> String {
    Page::written(paper, |page| write(&mut Writer { page }))
}

fn first_sentence(text: &str) -> &str {
    text.split_inclusive(". ").next().unwrap_or(text).trim_end_matches([' ', '.'])
}

struct Writer<'a> {
    page: &'a mut Page,
}

impl Writer<'_> {
    fn explanation(&mut self, service: Service, with_sources: bool) -> fmt::Result {
        let port = service.port;
        writeln!(self.page, "{port} {}\n", service.name)?;
        if let Some(entry) = CATALOGUE.entry(port) {
            return self.entry(entry, with_sources);
        }
        self.row("IANA", &format!("{}; no more is known of it here", service.name))?;
        self.look(port)?;
        if with_sources { self.source("iana") } else { Ok(()) }
    }

    fn table(&mut self, with_sources: bool) -> fmt::Result {
        let row = |entry: &Entry<'_>| {
            let port = entry.port.to_string();
            let cells = [&*port, entry.name, entry.era, first_sentence(entry.today)];
            Row { style: None, cells: cells.map(Cell::text).into() }
        };
        let rows: Vec<Row> = CATALOGUE.ports.iter().map(row).collect();
        self.page.table(0, &COLUMNS, &rows)?;
        writeln!(self.page, "\nghostport explain PORT says more.")?;
        if !with_sources {
            return Ok(());
        }
        writeln!(self.page)?;
        CATALOGUE.sources.keys().try_for_each(|key| self.source(key))
    }

    fn entry(&mut self, entry: &Entry<'_>, with_sources: bool) -> fmt::Result {
        self.row("IANA", &registration(entry))?;
        self.row("era", entry.era)?;
        self.row("was", entry.purpose)?;
        self.row("dormant", entry.dormant)?;
        self.row("today", entry.today)?;
        if let Some(attacks) = entry.attacks {
            self.row("attacks", attacks)?;
        }
        let names = entry.related.iter().filter_map(|port| lookup(*port));
        let names = names.map(|service| format!("{} {}", service.port, service.name));
        self.row("related", &names.collect::<Vec<_>>().join(", "))?;
        self.look(entry.port)?;
        if !with_sources {
            return Ok(());
        }
        entry.sources.iter().try_for_each(|key| self.source(key))
    }

    /// The commands to look with, which are not wrapped.
    fn look(&mut self, port: u16) -> fmt::Result {
        let commands = [
            format!("ghostport check {port}"),
            format!("ss -lntup 'sport = :{port}'    (without -u, UDP stays hidden)"),
            format!("tcpdump -ni any -w FILE.pcap port {port}"),
            "ghostport identify FILE.pcap".to_owned(),
        ];
        for (index, command) in commands.iter().enumerate() {
            let label = if index == 0 { "look" } else { "" };
            writeln!(self.page, "{label:INDENT$}{command}")?;
        }
        Ok(())
    }

    fn source(&mut self, key: &str) -> fmt::Result {
        CATALOGUE.sources.get(key).map_or(Ok(()), |source| self.row("source", source))
    }

    /// Nothing where there is no text.
    fn row(&mut self, label: &str, text: &str) -> fmt::Result {
        if text.is_empty() {
            return Ok(());
        }
        self.page.paragraph(&format!("{label:INDENT$}"), INDENT, text)
    }
}

/// What IANA's registry says. Not every port has an assignee there.
fn registration(entry: &Entry<'_>) -> String {
    let mut text = format!("{}, tcp and udp", entry.description);
    if let Some(assignee) = entry.assignee {
        let _ = write!(text, "; assigned to {}", assignee.replace('_', " "));
    }
    if let Some(registered) = entry.registered {
        let _ = write!(text, "; registered {registered}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_at_most_80_columns_wide() {
        let ports: Vec<u16> = CATALOGUE.ports.iter().map(|entry| entry.port).collect();
        assert_eq!(ports.len(), 13);
        let pages = ports.iter().map(|port| explain(*port, true, Paper::PLAIN).expect("a page"));
        for page in pages
            .chain([table(true, Paper::PLAIN), explain(80, true, Paper::PLAIN).expect("a page")])
        {
            for line in page.lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }

    #[test]
    fn page_has_the_facts_of_the_catalogue() {
        let page = explain(3717, false, Paper::PLAIN).expect("a page");
        for fact in ["wv-csp-udp-cir", "WV CSP UDP/IP CIR Channel", "2003-03", "MongoDB", "3716"] {
            assert!(page.contains(fact), "{fact}: {page}");
        }
        assert!(!page.contains("source"));
        let page = explain(2948, true, Paper::PLAIN).expect("a page");
        assert!(page.contains("CVE-2009-0396") && page.contains("source"));
        assert!(!page.contains("assigned to"), "the registry names no assignee");
    }

    #[test]
    fn ports_outside_the_catalogue_have_a_name_or_no_page() {
        assert!(explain(443, false, Paper::PLAIN).expect("a page").contains("https"));
        assert_eq!(explain(65_000, false, Paper::PLAIN), None);
    }
}
