//! What the pages are written with.

/// A Markdown table. Line breaks and bars in cells are escaped.
pub(crate) fn table<const N: usize>(
    heads: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let line = |cells: [String; N]| {
        let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        format!("| {} |\n", cells.join(" | "))
    };
    let mut text = line(heads.map(str::to_owned));
    text += &line([(); N].map(|()| "---".to_owned()));
    text.extend(rows.into_iter().map(line));
    text
}

/// Text in a code span.
pub(crate) fn code(text: &str) -> String {
    format!("`{text}`")
}
