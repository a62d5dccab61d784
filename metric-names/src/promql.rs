//! Just enough of PromQL's grammar to find which metrics and labels an expression uses. It accepts
//! anything: promtool checks whether an expression is valid.

/// What an expression uses.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Selectors, in order.
    pub selectors: Vec<Selector>,
    /// Labels of `by`, `without`, `on` and the like.
    pub groupings: Vec<String>,
    /// What stands between brackets.
    pub ranges: Vec<String>,
}

/// A metric, as it is selected.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Its name.
    pub metric: String,
    /// Labels that are matched, with what they are compared with.
    pub labels: Vec<(String, String)>,
    /// Whether it is followed by a range.
    pub ranged: bool,
}

/// Words that stand where a metric could, without being one or a function.
const WORDS: &[&str] = &[
    "and", "avg", "bool", "bottomk", "count", "group", "inf", "max", "min", "nan", "offset", "or",
    "quantile", "stddev", "stdvar", "sum", "topk", "unless",
];

const GROUPINGS: &[&str] = &["by", "without", "on", "ignoring", "group_left", "group_right"];

/// Reads them off an expression.
pub fn uses(expression: &str) -> Uses {
    let tokens = tokens(expression);
    let mut uses = Uses::default();
    let mut rest = tokens.as_slice();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            Token::Range(range) => {
                uses.ranges.push(range.clone());
                if let Some(last) = uses.selectors.last_mut() {
                    last.ranged = true;
                }
            }
            Token::Word(word) if GROUPINGS.contains(&word.as_str()) => {
                let labels = rest.iter().skip(1).map_while(|token| match token {
                    Token::Word(label) => Some(Some(label.clone())),
                    Token::Mark(',') => Some(None),
                    _ => None,
                });
                let labels: Vec<_> = labels.collect();
                rest = rest.get(1 + labels.len()..).unwrap_or_default();
                uses.groupings.extend(labels.into_iter().flatten());
            }
            Token::Word(word) => match rest.first() {
                _ if WORDS.contains(&word.as_str()) => {}
                Some(Token::Mark('(')) => {}
                Some(Token::Mark('{')) => {
                    let (labels, after) = matchers(&rest[1..]);
                    rest = after;
                    uses.selectors.push(Selector { metric: word.clone(), labels, ranged: false });
                }
                _ => uses.selectors.push(Selector { metric: word.clone(), ..Selector::default() }),
            },
            Token::Text(_) | Token::Mark(_) => {}
        }
    }
    uses
}

/// Labels and what they are compared with, up to the closing brace.
fn matchers(tokens: &[Token]) -> (Vec<(String, String)>, &[Token]) {
    let end = tokens.iter().position(|token| *token == Token::Mark('}')).unwrap_or(tokens.len());
    let mut labels: Vec<(String, String)> = Vec::new();
    for token in &tokens[..end] {
        match token {
            Token::Word(label) => labels.push((label.clone(), String::new())),
            Token::Text(text) => {
                if let Some((_, value)) = labels.last_mut() {
                    value.clone_from(text);
                }
            }
            Token::Range(_) | Token::Mark(_) => {}
        }
    }
    (labels, tokens.get(end + 1..).unwrap_or_default())
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Range(String),
    Mark(char),
}

fn tokens(expression: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' => {
                let length = quoted(rest, first);
                tokens.push(Token::Text(rest[1..length].trim_end_matches(first).to_owned()));
                length
            }
            '[' => {
                let length = rest.find(']').map_or(rest.len(), |end| end + 1);
                tokens.push(Token::Range(rest[1..length].trim_end_matches(']').to_owned()));
                length
            }
            '#' => rest.find('\n').unwrap_or(rest.len()),
            _ if first.is_ascii_digit() => run(rest, |c| is_of_name(c) || c == '.'),
            _ if is_of_name(first) => {
                let length = run(rest, is_of_name);
                tokens.push(Token::Word(rest[..length].to_owned()));
                length
            }
            _ => {
                if !first.is_whitespace() {
                    tokens.push(Token::Mark(first));
                }
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    tokens
}

fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == ':'
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|character| !belongs(character)).unwrap_or(text.len())
}

/// Length with both quotes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, character) in text.char_indices().skip(1) {
        if character == quote && !escaped {
            return index + 1;
        }
        escaped = character == '\\' && !escaped;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(expression: &str) -> Vec<String> {
        uses(expression).selectors.into_iter().map(|selector| selector.metric).collect()
    }

    #[test]
    fn functions_and_keywords_are_no_metrics() {
        let expression =
            "topk(10, sum by (port) (rate(a_total[5m]))) and on (job) b > 1e3 offset 5m";
        assert_eq!(metrics(expression), ["a_total", "b"]);
        assert_eq!(uses(expression).groupings, ["port", "job"]);
        assert_eq!(metrics("level:a:rate5m unless c == 0 or vector(0)"), ["level:a:rate5m", "c"]);
    }

    #[test]
    fn labels_belong_to_their_metric() {
        let found = uses(r#"a{x="1",y=~"b{c}\"d"}[$__range] / b{z!='2'}"#);
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(found.selectors[0].labels, [label("x", "1"), label("y", r#"b{c}\"d"#)]);
        assert!(found.selectors[0].ranged && !found.selectors[1].ranged);
        assert_eq!(found.selectors[1].labels, [label("z", "2")]);
        assert_eq!(found.ranges, ["$__range"]);
    }

    #[test]
    fn a_grouping_without_labels_ends() {
        let found = uses("a * on () group_left b");
        assert_eq!(found.groupings, Vec::<String>::new());
        assert_eq!(metrics("a * on () group_left () b"), ["a", "b"]);
    }
}
