//! As much of Markdown as the runbook needs: paragraphs, lists, tables, code, emphasis and links. Pure.

/// HTML of `markdown`. Links to other documents, which the agent does not serve, are their text.
pub(super) fn html(markdown: &str) -> String {
    let blocks = markdown.split("\n\n").map(str::trim).filter(|block| !block.is_empty());
    blocks.map(block).collect()
}

fn block(text: &str) -> String {
    let lines = || text.lines();
    if lines().all(|line| line.starts_with("- ")) {
        let items = lines().map(|line| format!("<li>{}</li>\n", inline(&line[2..])));
        return format!("<ul>\n{}</ul>\n", items.collect::<String>());
    }
    if lines().all(|line| line.starts_with('|')) {
        // The second row separates the head from the body.
        let rows = lines().enumerate().filter(|(number, _)| *number != 1);
        let rows = rows.map(|(number, line)| row(line, if number == 0 { "th" } else { "td" }));
        return format!("<table>\n{}</table>\n", rows.collect::<String>());
    }
    format!("<p>{}</p>\n", inline(text))
}

fn row(line: &str, tag: &str) -> String {
    let cells = line.trim_matches('|').split('|');
    let cells = cells.map(|cell| format!("<{tag}>{}</{tag}>", inline(cell.trim())));
    format!("<tr>{}</tr>\n", cells.collect::<String>())
}

/// A span of text.
fn inline(text: &str) -> String {
    let mut html = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(['`', '*', '[']) {
        html.push_str(&escaped(&rest[..start]));
        let (element, length) = element(&rest[start..]);
        html.push_str(&element);
        rest = &rest[start + length..];
    }
    html + &escaped(rest)
}

/// The element that `text` begins with, and its length. A mark without its counterpart is itself.
fn element(text: &str) -> (String, usize) {
    let between = |mark: &str| {
        let inner = text.strip_prefix(mark)?;
        let end = inner.find(mark).filter(|end| *end > 0)?;
        Some((&inner[..end], end + 2 * mark.len()))
    };
    if let Some((code, length)) = between("`") {
        return (format!("<code>{}</code>", escaped(code)), length);
    }
    for (mark, tag) in [("**", "strong"), ("*", "em")] {
        if let Some((inner, length)) = between(mark) {
            return (format!("<{tag}>{}</{tag}>", inline(inner)), length);
        }
    }
    if let Some((name, length)) = link(text) {
        return (inline(name), length);
    }
    (escaped(&text[..1]), 1)
}

/// The name of the link that `text` begins with, and the length of the link.
fn link(text: &str) -> Option<(&str, usize)> {
    let (name, target) = text.strip_prefix('[')?.split_once("](")?;
    let end = target.find(')')?;
    (!name.contains('[')).then_some((name, 1 + name.len() + 2 + end + 1))
}

/// Text that is not markup.
pub(super) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            other => html.push(other),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_elements() {
        for (markdown, expected) in [
            ("a **b `c` d**.", "<p>a <strong>b <code>c</code> d</strong>.</p>\n"),
            (
                "*Privileges* of [the page](a/b.md#c) `x`",
                "<p><em>Privileges</em> of the page <code>x</code></p>\n",
            ),
            ("`a < b && \"c\"` *", "<p><code>a &lt; b &amp;&amp; &quot;c&quot;</code> *</p>\n"),
            ("[alone] 2 * 3", "<p>[alone] 2 * 3</p>\n"),
            ("one\ntwo\n\nthree", "<p>one\ntwo</p>\n<p>three</p>\n"),
            ("- a\n- **b**", "<ul>\n<li>a</li>\n<li><strong>b</strong></li>\n</ul>\n"),
            (
                "| a | b |\n| --- | --- |\n| `c` | d |",
                "<table>\n<tr><th>a</th><th>b</th></tr>\n<tr><td><code>c</code></td><td>d</td></tr>\n</table>\n",
            ),
            ("<script>", "<p>&lt;script&gt;</p>\n"),
        ] {
            assert_eq!(html(markdown), expected, "{markdown}");
        }
    }
}
