//! Just enough of Markdown to find prose, headings and links.

/// The lines without code: fenced blocks are empty lines, code spans are left out.
pub(crate) fn prose(text: &str) -> Vec<String> {
    let mut fenced = false;
    let line = |line: &str| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        if fenced || is_fence { String::new() } else { without_code_spans(line) }
    };
    text.lines().map(line).collect()
}

/// The code spans outside of fenced blocks, with the numbers of their lines from 1.
pub(super) fn code_spans(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut spans = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        if !fenced && !is_fence {
            let parts: Vec<&str> = line.split('`').collect();
            let inside = parts[..parts.len() - 1].iter().skip(1).step_by(2);
            spans.extend(inside.map(|span| (index + 1, *span)));
        }
    }
    spans
}

/// A span that does not end on its line is kept.
fn without_code_spans(line: &str) -> String {
    let parts: Vec<&str> = line.split('`').collect();
    let last = parts.len() - 1;
    let kept = parts.into_iter().enumerate();
    kept.filter(|(index, _)| index % 2 == 0 || *index == last).map(|(_, part)| part).collect()
}

/// The anchors that GitHub gives to the headings.
pub(super) fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let Some(heading) = line.strip_prefix('#').filter(|_| !fenced) else { continue };
        let base = slug(heading.trim_start_matches('#').trim());
        let mut anchor = base.clone();
        let mut repetition = 1;
        while anchors.contains(&anchor) {
            anchor = format!("{base}-{repetition}");
            repetition += 1;
        }
        anchors.push(anchor);
    }
    anchors
}

fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|char| char.is_alphanumeric() || "-_ ".contains(*char));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// The targets of links and pictures on a line of [`prose`].
pub(crate) fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_those_of_github() {
        let text = "# A `b` & c\n```\n# no\n```\n## What, it's\n## What, it's\n";
        assert_eq!(anchors(text), ["a-b--c", "what-its", "what-its-1"]);
    }

    #[test]
    fn finds_links_and_pictures() {
        let line = "![x](a.png) and [y `z`](b.md#c) (d)";
        assert_eq!(links(line).collect::<Vec<_>>(), ["a.png", "b.md#c"]);
    }
}
