//! A page of text, as wide as the terminal.

use std::{
    fmt::{self, Write},
    io,
};

use anstyle::Style;
use jiff::Timestamp;

use super::{
    escape::escaped,
    event_table::ago,
    logging::colour_is_wanted,
    table::{Column, Row, Table, end},
    width::width,
    wrap::wrap,
};

/// Columns of a page where the reader is no terminal. Text is wrapped there, and nothing is cut.
pub(crate) const WIDTH: usize = 80;

/// Columns beyond which lines of text are hard to read.
const WIDEST: usize = 140;

/// What a page is written for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paper {
    in_colour: bool,
    /// Columns of the terminal; `None` if it is none.
    terminal: Option<usize>,
    /// Columns of its text.
    columns: Option<usize>,
    /// The time of day, to say how long ago something was.
    now: Option<Timestamp>,
}

impl Paper {
    /// A terminal of 80 columns without colours.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self::wide(WIDTH);

    /// The same with colours.
    #[cfg(test)]
    pub(crate) const COLOURED: Self = Self { in_colour: true, ..Self::PLAIN };

    /// A pipe.
    #[cfg(test)]
    pub(crate) const PIPE: Self = Self { columns: None, terminal: None, ..Self::PLAIN };

    /// A terminal of so many columns without colours.
    #[cfg(test)]
    pub(crate) const fn wide(columns: usize) -> Self {
        let (terminal, columns) = (Some(columns), Some(columns));
        Self { in_colour: false, terminal, columns, now: None }
    }

    /// For standard output, as it is.
    pub(crate) fn stdout() -> Self {
        let stdout = io::stdout();
        let terminal = width(&stdout);
        let columns = terminal.map(|columns| columns.min(WIDEST));
        let in_colour = colour_is_wanted(&stdout);
        Self { in_colour, terminal, columns, now: Some(Timestamp::now()) }
    }

    /// The time of day, where it is known.
    pub(crate) const fn now(self) -> Option<Timestamp> {
        self.now
    }

    /// A time of day, with how long ago it was where that is known.
    pub(crate) fn time(self, time: Timestamp) -> String {
        match self.now {
            Some(now) => format!("{time:.0} ({} ago)", ago(time, now)),
            None => format!("{time:.0}"),
        }
    }
}

/// Text that grows line by line. Writing to it cannot fail.
#[derive(Debug)]
pub(crate) struct Page {
    text: String,
    paper: Paper,
}

impl Page {
    /// The text of a page that `write` fills.
    pub(crate) fn written(paper: Paper, write: impl FnOnce(&mut Self) -> fmt::Result) -> String {
        let mut page = Self { text: String::new(), paper };
        // Writing to a string cannot fail.
        let _ = write(&mut page);
        page.text
    }

    /// What it is written for.
    pub(crate) const fn paper(&self) -> Paper {
        self.paper
    }

    /// Columns at which text is wrapped.
    pub(crate) fn width(&self) -> usize {
        self.paper.columns.unwrap_or(WIDTH)
    }

    /// The text in a style, where the page is in colour.
    pub(crate) fn styled(&self, style: Style, text: &str) -> String {
        if self.paper.in_colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// A line, cut at the width of the terminal. Its text is escaped.
    pub(crate) fn cut_line(&mut self, indent: usize, text: &str) -> fmt::Result {
        let room = self.paper.columns.map_or(usize::MAX, |columns| columns - indent);
        let line = format!("{:indent$}{}", "", fit(text, room));
        writeln!(self.text, "{}", line.trim_end())
    }

    /// A text each line of which begins with `head`; one line, where the reader is no terminal.
    pub(crate) fn comment(&mut self, head: &str, text: &str) -> fmt::Result {
        let text = escaped(text);
        let Some(columns) = self.paper.columns else {
            return writeln!(self.text, "{head}{text}");
        };
        let lines = wrap(&text, columns.saturating_sub(head.chars().count()));
        lines.iter().try_for_each(|line| writeln!(self.text, "{head}{line}"))
    }

    /// A table with its heading, so far to the right.
    pub(crate) fn table(
        &mut self,
        indent: usize,
        columns: &'static [Column],
        rows: &[Row],
    ) -> fmt::Result {
        let width = self.paper.terminal.map(|columns| columns.saturating_sub(indent));
        let table = Table::of_rows(columns, rows, width, self.paper.in_colour);
        let lines = [table.heading()].into_iter().chain(rows.iter().map(|row| table.row(row)));
        for line in lines {
            // A row may have several lines.
            line.lines().try_for_each(|line| writeln!(self.text, "{:indent$}{line}", ""))?;
        }
        Ok(())
    }

    /// A head, and behind it a text that continues at the column `indent` of the next lines. The text
    /// is escaped, and as wide as if the head ended at `indent`.
    pub(crate) fn paragraph(&mut self, head: &str, indent: usize, text: &str) -> fmt::Result {
        let mut lines = wrap(&escaped(text), self.width() - indent).into_iter();
        let first = format!("{head}{}", lines.next().unwrap_or_default());
        writeln!(self.text, "{}", first.trim_end())?;
        lines.try_for_each(|line| writeln!(self.text, "{:indent$}{line}", ""))
    }
}

impl Write for Page {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text.write_str(text)
    }
}

/// Escapes control characters, which names and arguments of programs may contain, and cuts what is
/// too long with an ellipsis.
pub(crate) fn fit(text: &str, width: usize) -> String {
    end(&escaped(text), width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_control_and_direction_characters() {
        assert_eq!(fit("a\u{1b}[2J\u{202e}b\n", 80), "a\\u{1b}[2J\\u{202e}b\\u{a}");
    }

    #[test]
    fn cuts_long_text_with_an_ellipsis() {
        assert_eq!(fit("four", 4), "four");
        assert_eq!(fit("fives", 4), "fiv…");
        assert_eq!(fit("\u{1b}\u{1b}", 4), "\\u{…");
    }

    #[test]
    fn nothing_is_cut_where_the_reader_is_no_terminal() {
        let long = "x".repeat(200);
        let written = |paper| Page::written(paper, |page| page.cut_line(2, &long));
        assert_eq!(written(Paper::PIPE).trim_end().len(), 202);
        assert_eq!(written(Paper::PLAIN).trim_end().chars().count(), WIDTH);
        assert_eq!(written(Paper::wide(120)).trim_end().chars().count(), 120);
    }

    #[test]
    fn times_say_how_long_ago_they_were() {
        let time: Timestamp = "2026-11-21T08:30:00Z".parse().expect("a time");
        let now = Some("2026-11-21T11:31:00Z".parse().expect("a time"));
        assert_eq!(Paper { now, ..Paper::PLAIN }.time(time), "2026-11-21T08:30:00Z (3h ago)");
        assert_eq!(Paper::PLAIN.time(time), "2026-11-21T08:30:00Z");
    }

    #[test]
    fn a_paragraph_continues_below_its_text() {
        let text = Page::written(Paper::PLAIN, |page| {
            page.paragraph("head: ", 6, &"word ".repeat(20))?;
            page.paragraph("empty: ", 7, "")
        });
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("head: word") && lines[0].len() <= WIDTH, "{text}");
        assert!(lines[1].starts_with("      word"), "{text}");
        assert_eq!(lines[2], "empty:");
    }
}
