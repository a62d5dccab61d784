//! Tables, which every command writes by this one writer: as wide as the terminal, and uncut in a pipe.

use std::fmt::Write as _;

use anstyle::Style;

use super::escape::escaped;

/// The least room in which a part of a fact is of use.
const LEAST_FACT: usize = 12;

/// The least width of a column on a terminal that is too narrow for the table.
const NARROWEST: usize = 6;

/// A column: its heading, and how it shares the width of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    heading: &'static str,
    /// What it gets on a narrow terminal.
    least: usize,
    /// What it gets at most.
    most: usize,
    /// Its share of the room that all columns leave.
    weight: usize,
    cut: Cut,
    is_right: bool,
    /// The narrowest table that has it.
    from: usize,
}

/// Where a text is cut that is too long for its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    End,
    /// Both ends of a name or an address say more.
    Middle,
    /// It continues on the next line. For the last column.
    Wrap,
}

impl Column {
    /// A column of this width.
    pub(crate) const fn new(heading: &'static str, width: usize) -> Self {
        let cut = Cut::End;
        Self { heading, least: width, most: width, weight: 0, cut, is_right: false, from: 0 }
    }

    /// Grows up to `most`, by so many parts of the room that is left.
    pub(crate) const fn growing(self, weight: usize, most: usize) -> Self {
        Self { weight, most, ..self }
    }

    /// Is cut in the middle.
    pub(crate) const fn middle(self) -> Self {
        Self { cut: Cut::Middle, ..self }
    }

    /// Continues on the next line.
    pub(crate) const fn wrapped(self) -> Self {
        Self { cut: Cut::Wrap, ..self }
    }

    /// Ends at its right edge.
    pub(crate) const fn right(self) -> Self {
        Self { is_right: true, ..self }
    }

    /// Is left out of narrower tables.
    pub(crate) const fn from(self, from: usize) -> Self {
        Self { from, ..self }
    }
}

/// What is in a column of a row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    content: Content,
    /// A sign in the gap before it.
    mark: Option<char>,
}

#[derive(Clone, Debug)]
enum Content {
    Text(String),
    /// A name, what must not be cut behind it, and where it runs, which is left out first.
    Program {
        name: String,
        suffix: String,
        place: Option<String>,
    },
    /// The most informative first; the last are left out first.
    Facts(Vec<String>),
}

impl Default for Content {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { content: Content::Text(text.into()), mark: None }
    }

    /// `nginx[713] nginx.service`, of which the process id is what must not be cut.
    pub(crate) fn program(name: &str, suffix: String, place: Option<&str>) -> Self {
        let place = place.map(str::to_owned);
        Self { content: Content::Program { name: name.to_owned(), suffix, place }, mark: None }
    }

    /// Facts with commas between them.
    pub(crate) const fn facts(facts: Vec<String>) -> Self {
        Self { content: Content::Facts(facts), mark: None }
    }

    /// With a sign in the gap before it.
    pub(crate) fn marked(self, mark: Option<char>) -> Self {
        Self { mark, ..self }
    }

    /// All of it, with what a terminal would act on escaped.
    fn whole(&self) -> String {
        let whole = match &self.content {
            Content::Text(text) => text.clone(),
            Content::Program { name, suffix, place: None } => format!("{name}{suffix}"),
            Content::Program { name, suffix, place: Some(place) } => {
                format!("{name}{suffix} {place}")
            }
            Content::Facts(facts) => facts.join(", "),
        };
        escaped(&whole).into_owned()
    }

    /// As much of it as fits.
    fn fitting(&self, width: usize, cut: Cut) -> String {
        let whole = self.whole();
        if length(&whole) <= width {
            return whole;
        }
        match &self.content {
            Content::Text(_) if cut == Cut::Middle => middle(&whole, width),
            Content::Text(_) => end(&whole, width),
            Content::Program { name, suffix, .. } => {
                let (name, suffix) = (escaped(name), escaped(suffix));
                let room = width.saturating_sub(length(&suffix));
                end(&format!("{}{suffix}", end(&name, room)), width)
            }
            Content::Facts(facts) => fitting_facts(facts, width),
        }
    }
}

/// As many facts as fit, and of the next one a part, if that is more than a few characters.
fn fitting_facts(facts: &[String], width: usize) -> String {
    let mut shown = String::new();
    for fact in facts {
        let comma = if shown.is_empty() { "" } else { ", " };
        let fact = escaped(fact);
        let room = width.saturating_sub(length(&shown) + comma.len());
        if length(&fact) > room && !shown.is_empty() && room < LEAST_FACT {
            break;
        }
        let _ = write!(shown, "{comma}{}", end(&fact, room));
        if length(&fact) > room {
            break;
        }
    }
    shown
}

/// A row, with the style of all of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) style: Option<Style>,
    /// As many as the table has columns, those that are left out among them.
    pub(crate) cells: Vec<Cell>,
}

impl Row {
    /// Whether a text, which is in lower case, is in one of the cells.
    pub(crate) fn contains(&self, wanted: &str) -> bool {
        self.cells.iter().any(|cell| cell.whole().to_lowercase().contains(wanted))
    }
}

/// Columns with their widths.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: &'static [Column],
    /// By column; `None` of one that is left out.
    widths: Vec<Option<usize>>,
    /// The width of the table; `None` where nothing is cut.
    width: Option<usize>,
    in_colour: bool,
}

impl Table {
    /// A table whose rows are not known yet.
    pub(crate) fn of_columns(
        columns: &'static [Column],
        width: Option<usize>,
        in_colour: bool,
    ) -> Self {
        let wanted: Vec<usize> = columns.iter().map(|column| column.most).collect();
        let mut widths = widths(columns, &wanted, width);
        if width.is_none() {
            // Wide enough for most texts; the last one is not padded.
            for (width, column) in widths.iter_mut().zip(columns) {
                *width = Some(if column.most == usize::MAX { column.least } else { column.most });
            }
        }
        Self { columns, widths, width, in_colour }
    }

    /// A table that is as wide as its rows need. A column without content is left out.
    pub(crate) fn of_rows(
        columns: &'static [Column],
        rows: &[Row],
        width: Option<usize>,
        in_colour: bool,
    ) -> Self {
        let content = |index: usize| {
            let cells = rows.iter().filter_map(|row| row.cells.get(index));
            cells.map(|cell| length(&cell.whole())).max().unwrap_or(0)
        };
        let wanted: Vec<usize> = (0..columns.len())
            .map(|index| match content(index) {
                0 => 0,
                content => content.max(length(columns[index].heading)),
            })
            .collect();
        let mut widths = widths(columns, &wanted, width);
        for (width, wanted) in widths.iter_mut().zip(&wanted) {
            *width = width.filter(|_| *wanted > 0);
        }
        Self { columns, widths, width, in_colour }
    }

    /// The heading.
    pub(crate) fn heading(&self) -> String {
        let cells: Vec<Cell> =
            self.columns.iter().map(|column| Cell::text(column.heading)).collect();
        let style = Some(Style::new().bold());
        self.row(&Row { style, cells })
    }

    /// A row, of several lines if a column is wrapped.
    pub(crate) fn row(&self, row: &Row) -> String {
        let line = self.line(&row.cells);
        match row.style.filter(|_| self.in_colour) {
            Some(style) => format!("{style}{line}{style:#}"),
            None => line,
        }
    }

    fn line(&self, cells: &[Cell]) -> String {
        let mut line = String::new();
        let mut is_first = true;
        for ((column, width), cell) in self.columns.iter().zip(&self.widths).zip(cells) {
            let Some(width) = *width else { continue };
            if !is_first {
                line.push(cell.mark.unwrap_or(' '));
            }
            is_first = false;
            if column.cut == Cut::Wrap && self.width.is_some() {
                let at = length(&line);
                let lines = super::wrap::wrap(&cell.whole(), width);
                line.push_str(&lines.join(&format!("\n{:at$}", "")));
                continue;
            }
            let text = match self.width {
                Some(_) => cell.fitting(width, column.cut),
                None => cell.whole(),
            };
            let _ = if column.is_right {
                write!(line, "{text:>width$}")
            } else {
                write!(line, "{text:width$}")
            };
        }
        line.trim_end().to_owned()
    }
}

/// The width of each column: the least, and what the width of the table leaves, by weight. None gets
/// more than is wanted.
fn widths(columns: &[Column], wanted: &[usize], width: Option<usize>) -> Vec<Option<usize>> {
    let Some(width) = width else { return wanted.iter().map(|wanted| Some(*wanted)).collect() };
    let mut widths: Vec<Option<usize>> = columns
        .iter()
        .zip(wanted)
        .map(|(column, wanted)| (width >= column.from).then(|| column.least.min(*wanted)))
        .collect();
    let shown = widths.iter().flatten().filter(|width| **width > 0).count();
    let used: usize = widths.iter().flatten().sum::<usize>() + shown.saturating_sub(1);
    let mut room = width.saturating_sub(used);
    loop {
        let before = room;
        // The last columns say what the others are about: they grow first.
        for index in (0..columns.len()).rev() {
            let Some(own) = &mut widths[index] else { continue };
            let most = wanted[index].saturating_sub(*own);
            let given = columns[index].weight.min(room).min(most);
            *own += given;
            room -= given;
        }
        if room == before {
            break;
        }
    }
    let mut excess = used.saturating_sub(width);
    while excess > 0 {
        let flexible = widths.iter_mut().zip(columns).filter(|(_, column)| column.weight > 0);
        let widest = flexible.filter_map(|(width, _)| width.as_mut()).max();
        let Some(widest) = widest.filter(|width| **width > NARROWEST) else { break };
        *widest -= 1;
        excess -= 1;
    }
    widths
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// As much of the beginning of `text` as fits.
pub(crate) fn end(text: &str, width: usize) -> String {
    if length(text) <= width {
        return text.to_owned();
    }
    let mut shown: String = text.chars().take(width.saturating_sub(1)).collect();
    shown.push('…');
    shown
}

/// As much of both ends of `text` as fits.
fn middle(text: &str, width: usize) -> String {
    let (head, tail) = (width.saturating_sub(1).div_ceil(2), width.saturating_sub(1) / 2);
    let head: String = text.chars().take(head).collect();
    let tail: String = text.chars().skip(length(text) - tail).collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::new("NAME", 8).growing(1, usize::MAX).middle(),
        Column::new("HELD BY", 10).growing(1, 30),
        Column::new("AGO", 4).right().from(60),
        Column::new("WHAT", 10).growing(2, usize::MAX),
    ];

    fn row(name: &str, program: &str, facts: &[&str]) -> Row {
        let cells = vec![
            Cell::text(name),
            Cell::program(program, "[4242]".to_owned(), Some("cron.service")),
            Cell::text("3h"),
            Cell::facts(facts.iter().map(|fact| (*fact).to_owned()).collect()),
        ];
        Row { style: None, cells }
    }

    fn written(rows: &[Row], width: Option<usize>) -> Vec<String> {
        let table = Table::of_rows(&COLUMNS, rows, width, false);
        [table.heading()].into_iter().chain(rows.iter().map(|row| table.row(row))).collect()
    }

    #[test]
    fn a_pipe_gets_everything_aligned() {
        let rows = [row("a", &"p".repeat(90), &["0.0.0.0", "expected"]), row("bb", "q", &["x"])];
        let lines = written(&rows, None);
        assert!(lines[1].ends_with(" cron.service  3h 0.0.0.0, expected"), "{lines:#?}");
        let at = lines[0].find("WHAT");
        assert!(at.is_some() && lines[2].rfind('x') == at, "{lines:#?}");
    }

    #[test]
    fn a_terminal_gets_names_in_the_middle_processes_whole_and_facts_by_the_word() {
        let lines = written(
            &[row("0123456789abcdef0123", "long-program-name", &["0.0.0.0", "not expected"])],
            Some(60),
        );
        assert_eq!(lines[1], "0123456…def0123 long-progra…[4242]  3h 0.0.0.0, not expected");
        let lines = written(
            &[row("0123456789abcdef0123", "long-program-name", &["0.0.0.0", "not expected"])],
            Some(40),
        );
        assert_eq!(lines[1], "01234…0123 long-…[4242] 0.0.0.0");
    }

    #[test]
    fn columns_without_content_are_left_out() {
        let row = Row { style: None, cells: vec![Cell::text("a"), Cell::default()] };
        assert_eq!(written(&[row], Some(80)), ["NAME", "a"]);
    }

    #[test]
    fn the_last_column_may_be_wrapped() {
        const WRAPPED: [Column; 2] =
            [Column::new("PORT", 5), Column::new("TODAY", 10).growing(1, usize::MAX).wrapped()];
        let rows = [Row {
            style: None,
            cells: vec![Cell::text("2948"), Cell::text("one two three four")],
        }];
        let written = |width| Table::of_rows(&WRAPPED, &rows, width, false).row(&rows[0]);
        assert_eq!(written(Some(15)), "2948 one two\n     three four");
        assert_eq!(written(None), "2948 one two three four");
    }

    #[test]
    fn a_mark_takes_no_column() {
        let cells = vec![Cell::text("a"), Cell::text("nc").marked(Some('!'))];
        let row = Row { style: None, cells };
        let table = Table::of_rows(&COLUMNS[..2], std::slice::from_ref(&row), Some(80), false);
        assert_eq!(table.row(&row), "a   !nc");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal(
            name in "\\PC{0,60}", program in any::<String>(), fact in ".{0,90}", width in 40..220_usize,
        ) {
            let rows = [row(&name, &program, &[&fact, "expected"])];
            for line in written(&rows, Some(width)) {
                prop_assert!(line.chars().count() <= width, "{line}");
                prop_assert!(!line.contains(char::is_control));
            }
        }
    }
}
