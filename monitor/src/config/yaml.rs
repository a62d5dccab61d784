//! YAML as a tree in which every node knows its line and column.
//!
//! Only what a configuration needs: one document of mappings, lists and plain values. Anchors,
//! aliases and tags are refused, so the tree is never larger than the text.

use std::{borrow::Cow, fmt};

use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};

/// Deeper than any key of the configuration, and shallow enough for the stack.
const MAX_DEPTH: usize = 16;

/// A place in the text; both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

impl Position {
    pub(super) const START: Self = Self { line: 1, column: 1 };

    /// The place of a line and a column, from 1, of the text of a literal block scalar, whose first
    /// character is here.
    pub(super) const fn inside(self, line: u32, column: u32) -> Self {
        Self { line: self.line + line - 1, column: self.column + column - 1 }
    }
}

impl From<Marker> for Position {
    fn from(marker: Marker) -> Self {
        // The text is bounded to 1 MiB, so no count can be cut off.
        Self { line: marker.line() as u32, column: marker.col() as u32 + 1 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// What is wrong with the text, where, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) position: Position,
    pub(super) message: String,
    pub(super) expected: String,
}

impl Problem {
    pub(super) fn new(
        position: Position,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self { position, message: message.into(), expected: expected.into() }
    }
}

/// A value with its place in the text.
#[derive(Debug)]
pub(super) struct Node<'text> {
    pub(super) position: Position,
    pub(super) value: Value<'text>,
}

#[derive(Debug)]
pub(super) enum Value<'text> {
    /// No value, `~` or `null`.
    Null,
    /// A scalar without quotes: a number or a string.
    Plain(Cow<'text, str>),
    /// A scalar in quotes or a folded block scalar: a string.
    Quoted(Cow<'text, str>),
    /// A literal block scalar, `|`: a string whose lines are those of the text.
    Literal(Cow<'text, str>),
    List(Vec<Node<'text>>),
    Mapping(Vec<Entry<'text>>),
}

/// A key of a mapping and its value.
#[derive(Debug)]
pub(super) struct Entry<'text> {
    pub(super) key: Cow<'text, str>,
    pub(super) key_position: Position,
    pub(super) value: Node<'text>,
}

impl fmt::Display for Value<'_> {
    /// The value as an error message names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("nothing"),
            Self::Plain(text) => write!(f, "`{}`", excerpt(text)),
            Self::Quoted(text) | Self::Literal(text) => {
                write!(f, "the string \"{}\"", excerpt(text))
            }
            Self::List(_) => f.write_str("a list"),
            Self::Mapping(_) => f.write_str("a mapping"),
        }
    }
}

/// As much of `text` as fits in a message, without control characters.
pub(super) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown = String::new();
    for char in text.chars().take(LONGEST) {
        if char.is_control() { shown.extend(char.escape_default()) } else { shown.push(char) }
    }
    if text.chars().nth(LONGEST).is_some() { shown + "…" } else { shown }
}

/// Parses the only document of `text`.
pub(super) fn parse(text: &str) -> Result<Node<'_>, Problem> {
    let mut events = Events(Parser::new_from_str(text));
    let mut root = Node { position: Position::START, value: Value::Null };
    let mut documents = 0;
    loop {
        let (event, span) = events.next()?;
        match event {
            Event::StreamEnd => return Ok(root),
            Event::StreamStart | Event::DocumentEnd => {}
            Event::DocumentStart(..) if documents == 1 => {
                return Err(Problem::new(
                    span.start.into(),
                    "a second YAML document begins here",
                    "one document",
                ));
            }
            Event::DocumentStart(..) => documents += 1,
            event => root = events.node(event, span, 0)?,
        }
    }
}

struct Events<'text>(Parser<'text, granit_parser::StrInput<'text>>);

impl<'text> Events<'text> {
    fn next(&mut self) -> Result<(Event<'text>, Span), Problem> {
        // The parser ends only after `StreamEnd`, after which no event is read.
        let event = self.0.next_event().unwrap_or_else(|| Ok((Event::StreamEnd, Span::default())));
        event.map_err(|error| not_yaml(&error))
    }

    /// The node that `event` begins.
    fn node(
        &mut self,
        event: Event<'text>,
        span: Span,
        depth: usize,
    ) -> Result<Node<'text>, Problem> {
        let position = span.start.into();
        if depth > MAX_DEPTH {
            return Err(Problem::new(
                position,
                "nested too deeply",
                format!("at most {MAX_DEPTH} levels"),
            ));
        }
        let value = match event {
            Event::Scalar(text, style, anchor, tag) => {
                refuse_extras(position, anchor, tag.as_deref())?;
                scalar(text, style)
            }
            Event::SequenceStart(_, anchor, tag) => {
                refuse_extras(position, anchor, tag.as_deref())?;
                Value::List(self.list(depth)?)
            }
            Event::MappingStart(_, anchor, tag) => {
                refuse_extras(position, anchor, tag.as_deref())?;
                Value::Mapping(self.mapping(depth)?)
            }
            Event::Alias(_) => return Err(alias(position)),
            _ => return Err(Problem::new(position, "not YAML: a value is missing", "a value")),
        };
        Ok(Node { position, value })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node<'text>>, Problem> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Vec<Entry<'text>>, Problem> {
        let mut entries: Vec<Entry<'text>> = Vec::new();
        loop {
            let key_node = match self.next()? {
                (Event::MappingEnd, _) => return Ok(entries),
                (event, span) => self.node(event, span, depth + 1)?,
            };
            let key_position = key_node.position;
            let key = match key_node.value {
                Value::Plain(text) | Value::Quoted(text) | Value::Literal(text) => text,
                other => {
                    let message = format!("{other} in the place of a key");
                    return Err(Problem::new(key_position, message, "the name of a key"));
                }
            };
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            entries.push(Entry { key, key_position, value });
        }
    }
}

fn not_yaml(error: &ScanError) -> Problem {
    let position = (*error.marker()).into();
    let info = error.info();
    // An unquoted `*eth` or `*` was meant as a pattern, not as an alias.
    if info.contains("alias") || info.contains("anchor") {
        return alias(position);
    }
    Problem::new(position, format!("not YAML: {}", excerpt(&info)), "YAML")
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> Value<'_> {
    match style {
        ScalarStyle::Plain => {}
        ScalarStyle::Literal => return Value::Literal(text),
        _ => return Value::Quoted(text),
    }
    match &*text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        _ => Value::Plain(text),
    }
}

fn refuse_extras(position: Position, anchor: usize, tag: Option<&Tag>) -> Result<(), Problem> {
    if anchor != 0 {
        return Err(alias(position));
    }
    tag.map_or(Ok(()), |tag| {
        let message = format!("the tag `{}` is not supported", excerpt(&tag.original()));
        Err(Problem::new(position, message, "a value without a tag"))
    })
}

fn alias(position: Position) -> Problem {
    let message = "anchors (&name) and aliases (*name) are not supported";
    Problem::new(position, message, "the value itself; a pattern that begins with * in quotes")
}
