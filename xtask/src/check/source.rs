//! Just enough of Rust's lexical grammar to tell code from text, so that a rule about code is not
//! broken by a comment, nor one about names by an identifier.

/// One line of a source file.
#[derive(Default, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The line without comments and without what its literals say.
    pub(super) code: String,
    /// What its string literals say.
    pub(super) text: String,
    /// What its comments say, with their slashes.
    pub(super) comment: String,
}

/// Splits a file into lines of code and text.
pub(super) fn lines(source: &str) -> Vec<Line> {
    let mut lines = vec![Line::default()];
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let (kind, length) = token(rest, ends_in_identifier(&lines));
        let length = length.max(first.len_utf8());
        let (token, after) = rest.split_at(length);
        for (index, part) in token.split('\n').enumerate() {
            if index > 0 {
                lines.push(Line::default());
            }
            if let Some(line) = lines.last_mut() {
                line.add(kind, part);
            }
        }
        rest = after;
    }
    lines
}

#[derive(Clone, Copy)]
enum Kind {
    Code,
    Comment,
    Text,
}

impl Line {
    fn add(&mut self, kind: Kind, part: &str) {
        match kind {
            Kind::Code => self.code.push_str(part),
            Kind::Comment => {
                self.code.push(' ');
                self.comment.push_str(part);
            }
            Kind::Text => self.text.push_str(part),
        }
    }
}

fn ends_in_identifier(lines: &[Line]) -> bool {
    lines.last().is_some_and(|line| line.code.ends_with(is_of_identifier))
}

fn is_of_identifier(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The kind and length of the token that `rest` begins with.
fn token(rest: &str, after_identifier: bool) -> (Kind, usize) {
    if rest.starts_with("//") {
        return (Kind::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Kind::Comment, block_comment(rest));
    }
    if let Some(inside) = rest.strip_prefix('"') {
        return (Kind::Text, 1 + quoted(inside, '"'));
    }
    if let Some(length) = raw_string(rest).filter(|_| !after_identifier) {
        return (Kind::Text, length);
    }
    (Kind::Code, character_literal(rest).unwrap_or(1))
}

/// Comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while let Some(next) = rest[at..].chars().next() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += next.len_utf8();
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length up to and with the closing quote.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, character) in rest.char_indices() {
        if !escaped && character == quote {
            return index + 1;
        }
        escaped = !escaped && character == '\\';
    }
    rest.len()
}

/// `r"…"`, `r#"…"#` and so on, also after `b` or `c`.
fn raw_string(rest: &str) -> Option<usize> {
    let prefix = rest.strip_prefix(['b', 'c']).unwrap_or(rest).strip_prefix('r')?;
    let body = prefix.trim_start_matches('#');
    let end = format!("\"{}", "#".repeat(prefix.len() - body.len()));
    let text = body.strip_prefix('"')?;
    let before = rest.len() - text.len();
    Some(text.find(&end).map_or(rest.len(), |index| before + index + end.len()))
}

/// `'x'` and `'\n'`, but not the lifetime `'x`.
fn character_literal(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    if inside.starts_with('\\') {
        return Some(1 + quoted(inside, '\''));
    }
    let first = inside.chars().next()?.len_utf8();
    inside[first..].starts_with('\'').then_some(first + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(source: &str) -> (String, String) {
        let lines = lines(source);
        assert_eq!(lines.len(), 1, "{lines:?}");
        (lines[0].code.trim().to_owned(), lines[0].text.clone())
    }

    #[test]
    fn comments_are_neither_code_nor_text() {
        assert_eq!(only(r#"a(); // unsafe "b""#).0, "a();");
        assert_eq!(only("a /* b /* c */ \"d\" */ e"), ("a   e".into(), String::new()));
    }

    #[test]
    fn strings_are_text() {
        assert_eq!(only(r#"f("a \" // b", c)"#), ("f(, c)".into(), r#""a \" // b""#.into()));
        assert_eq!(only(r###"f(r#"a " b"#, c)"###), ("f(, c)".into(), r###"r#"a " b"#"###.into()));
        assert_eq!(only(r#"var"x""#).0, "var");
    }

    #[test]
    fn quotes_in_characters_open_no_string() {
        assert_eq!(only(r#"x('"', '\'', "t")"#).1, r#""t""#);
        assert_eq!(only(r#"fn f<'a>(x: &'a str) { g("t") }"#).1, r#""t""#);
    }

    #[test]
    fn text_keeps_its_lines() {
        let lines = lines("a(\"b\nc\");\nd");
        assert_eq!(lines.len(), 3);
        assert_eq!((lines[1].code.as_str(), lines[1].text.as_str()), (");", "c\""));
    }
}
