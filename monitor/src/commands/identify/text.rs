//! Findings for a terminal of 80 columns.

use std::fmt::Write as _;

use serde_json::Value;

use crate::terminal::{escape::escaped, page::WIDTH, wrap::wrap};
use monitor_identify::Identification;
use monitor_identify::capture::Finding;

/// A conversation: its ends, then what it is.
pub(super) fn finding(finding: &Finding) -> String {
    let Finding { transport, source, destination, identification: found } = finding;
    format!("{transport} {source} -> {destination}\n{}", identification(found, "  "))
}

/// Verdict and grade, the reason, and the details.
pub(super) fn identification(found: &Identification, indent: &str) -> String {
    let mut page = format!("{indent}{} ({})\n", found.verdict.name(), found.grade.name());
    for line in wrap(&escaped(&found.reason), WIDTH - indent.len() - 2) {
        let _ = writeln!(page, "{indent}  {line}");
    }
    for (name, value) in found.details.iter() {
        let line = format!("{indent}  {name}: {}", shown(value));
        page.push_str(&folded(&line, &format!("{indent}    ")));
        page.push('\n');
    }
    page
}

/// Breaks a line wherever it is full: blanks in it are a payload's, and stay.
fn folded(line: &str, indent: &str) -> String {
    let (mut folded, mut column) = (String::new(), 0);
    for character in line.chars() {
        if column == WIDTH {
            folded.push('\n');
            folded.push_str(indent);
            column = indent.len();
        }
        folded.push(character);
        column += 1;
    }
    folded
}

/// A value without its quotes.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    escaped(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitor_identify::{Payload, identify};

    #[test]
    fn the_page_says_what_and_why() {
        let bytes = b"\xdc\x06\x01\xae\x02\x05\x6a\x00\x45\xc6\x0c\x03mysite.ru\x00\x01\x03mysite\x00\x01\x01";
        let page = identification(&identify(&Payload::of(bytes)), "");
        assert!(page.starts_with("wap-service-indication (confirmed)\n  a WSP push"), "{page}");
        assert!(page.contains("\n  address: http://mysite.ru\n"), "{page}");
        assert!(page.lines().all(|line| line.chars().count() <= WIDTH));
    }

    #[test]
    fn a_long_value_is_folded_and_loses_nothing() {
        for text in ["one two three ".repeat(30), "ä".repeat(300)] {
            let page = identification(&identify(&Payload::of(text.as_bytes())), "  ");
            assert!(page.lines().all(|line| line.chars().count() <= WIDTH), "{page}");
            let (_, folded) = page.split_once("first_line: ").expect("a first line");
            let whole: String =
                folded.lines().map(|line| line.strip_prefix("      ").unwrap_or(line)).collect();
            let start: String = text.chars().take(200).collect();
            assert!(whole.starts_with(&start), "{page}");
        }
    }

    #[test]
    fn a_payload_cannot_steer_the_terminal() {
        let page = identification(&identify(&Payload::of(b"SSH-2.0-\x1b[2Jx\r\nabc")), "");
        assert!(!page.contains('\u{1b}'), "{page}");
        let value = Value::from("a\u{1b}[31m\u{9b}b");
        assert_eq!(shown(&value), "a\\u{1b}[31m\\u{9b}b");
    }
}
