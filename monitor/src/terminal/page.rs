//! A page of text for a terminal of 80 columns.

use std::fmt::{self, Write};

use anstyle::Style;

use super::{escape::escaped, wrap::wrap};

/// Columns of a page.
pub(crate) const WIDTH: usize = 80;

/// Text that grows line by line. Writing to it cannot fail.
#[derive(Debug)]
pub(crate) struct Page {
    text: String,
    in_colour: bool,
}

impl Page {
    /// The text of a page that `write` fills.
    pub(crate) fn written(in_colour: bool, write: impl FnOnce(&mut Self) -> fmt::Result) -> String {
        let mut page = Self { text: String::new(), in_colour };
        // Writing to a string cannot fail.
        let _ = write(&mut page);
        page.text
    }

    /// The text in a style, where the page is in colour.
    pub(crate) fn styled(&self, style: Style, text: &str) -> String {
        if self.in_colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// A line, cut at the width of the page. Its text is escaped.
    pub(crate) fn cut_line(&mut self, indent: usize, text: &str) -> fmt::Result {
        let line = format!("{:indent$}{}", "", fit(text, WIDTH - indent));
        writeln!(self.text, "{}", line.trim_end())
    }

    /// A head, and behind it a text that continues at the column `indent` of the next lines. The text
    /// is escaped, and as wide as if the head ended at `indent`.
    pub(crate) fn paragraph(&mut self, head: &str, indent: usize, text: &str) -> fmt::Result {
        let mut lines = wrap(&escaped(text), WIDTH - indent).into_iter();
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
    let shown = escaped(text);
    if shown.chars().count() <= width {
        return shown.into_owned();
    }
    let mut cut: String = shown.chars().take(width - 1).collect();
    cut.push('…');
    cut
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
    fn a_paragraph_continues_below_its_text() {
        let text = Page::written(false, |page| {
            page.paragraph("head: ", 6, &"word ".repeat(20))?;
            page.paragraph("empty: ", 7, "")
        });
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("head: word") && lines[0].len() <= WIDTH, "{text}");
        assert!(lines[1].starts_with("      word"), "{text}");
        assert_eq!(lines[2], "empty:");
    }
}
