//! The table: a line for each listener.

use std::fmt;

use super::report::Report;
use crate::terminal::{
    listener_table::{COLUMNS, row},
    page::{Page, Paper},
    plural::counted,
    table::Row,
};

pub(super) fn page(report: &Report, paper: Paper) -> String {
    Page::written(paper, |page| table(page, report))
}

fn table(page: &mut Page, report: &Report) -> fmt::Result {
    let several = report.namespaces > 1;
    let now = page.paper().now();
    if !report.listeners.is_empty() {
        let rows: Vec<Row> =
            report.listeners.iter().map(|listener| row(listener, several, now)).collect();
        page.table(0, &COLUMNS, &rows)?;
    }
    let count = |wanted: Option<bool>| {
        report.listeners.iter().filter(|listener| listener.socket.expected == wanted).count()
    };
    let (expected, others) = (count(Some(true)), count(Some(false)));
    let unknown = report.listeners.len() - expected - others;
    let sum = format!(
        "{}: {expected} expected, {others} unexpected (!), {unknown} not known (?); \
         * reachable from elsewhere",
        counted(report.listeners.len(), "listener", "listeners"),
    );
    page.comment("", &sum)?;
    match report.learning {
        Some(true) => page.cut_line(0, "the baseline is being learned"),
        Some(false) => Ok(()),
        None => page.cut_line(0, "no agent that watches listeners says what the baseline has"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockets::{self, OpenListener, udp_socket};

    fn report() -> Report {
        let mut socket = udp_socket(53);
        socket.entry.local = "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535".parse().expect("one");
        let found = sockets::Listeners {
            listeners: vec![OpenListener { socket, port_was_named: None }],
            namespaces: 2,
            ..sockets::Listeners::default()
        };
        Report::new(found, None, |_| false)
    }

    #[test]
    fn every_line_fits_the_terminal_and_a_pipe_has_everything() {
        for width in 40..200 {
            let page = page(&report(), Paper::wide(width));
            assert!(page.lines().all(|line| line.chars().count() <= width), "{page}");
        }
        let narrow = page(&report(), Paper::wide(60));
        assert!(narrow.contains("udp [2001:db") && narrow.contains("78]:65535"), "{narrow}");
        let whole = "?* udp [2001:db8:1234:5678:9abc:def0:1234:5678]:65535";
        for paper in [Paper::PLAIN, Paper::PIPE] {
            let page = page(&report(), paper);
            assert!(page.contains(whole), "{page}");
        }
    }

    #[test]
    fn the_sum_says_what_the_signs_mean() {
        let page = page(&report(), Paper::PLAIN);
        assert!(
            page.contains("1 listener: 0 expected, 0 unexpected (!), 1 not known (?)"),
            "{page}"
        );
    }
}
