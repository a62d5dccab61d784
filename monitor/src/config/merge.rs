//! Adds expectations to a configuration file, and leaves the rest of its text as it is.
//!
//! Pure: text in, text out. Texts are inserted where the parser says that a value begins, so that
//! comments, order and style stay. The result is read again, and refused unless it is the old
//! configuration with the additions.

use std::{collections::BTreeMap, path::Path};

use super::{
    error::ConfigError,
    expect::Expectation,
    listeners::ListenerExpectation,
    load::Overrides,
    model::Config,
    value::port_range,
    yaml::{self, Entry, Node, Position, Value},
};

/// What is added to a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Additions {
    /// Expectations of watched ports, by port. Of a port that is one of a range, the range gets them.
    pub ports: BTreeMap<u16, Vec<Addition<Expectation>>>,
    /// Entries of `listeners.expect`.
    pub listeners: Vec<Addition<ListenerExpectation>>,
}

/// An entry, and what speaks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition<T> {
    /// The entry.
    pub entry: T,
    /// The evidence, one line.
    pub evidence: String,
}

/// A text to which entries were added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The text.
    pub text: String,
    /// How many entries were added.
    pub added: usize,
}

/// Why a file cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// It is no configuration as it is.
    #[error(transparent)]
    Broken(#[from] ConfigError),
    /// The text is written in a way that cannot be added to.
    #[error("{0} is written in a way that cannot be added to: add the entries by hand")]
    Unsuitable(String),
}

/// The text of the file at `path` with the additions that it lacks.
///
/// # Errors
/// The file is no configuration, or the result would not be the one that is wanted.
pub fn merge(path: &Path, text: &str, additions: &Additions) -> Result<Merged, MergeError> {
    let read = |text: &str| Config::parse(path, text.as_bytes().to_vec(), &Overrides::default());
    let before = read(text)?;
    let unsuitable = || MergeError::Unsuitable(path.display().to_string());
    let additions = additions.missing_in(&before);
    let root =
        yaml::parse(text).map_err(|problem| ConfigError::invalid(path.to_owned(), problem))?;
    let mut edits = Edits { text, edits: Vec::new(), end: String::new() };
    let sections = match root.value {
        Value::Mapping(sections) => sections,
        Value::Null => Vec::new(),
        _ => return Err(unsuitable()),
    };
    edits.ports(&sections, &before, &additions);
    edits.listeners(&sections, &additions);
    let added = additions.ports.values().map(Vec::len).sum::<usize>() + additions.listeners.len();
    let merged = edits.apply();
    let is_as_wanted =
        read(&merged).is_ok_and(|after| has_same_entries(&after, &wanted(before, &additions)));
    if is_as_wanted { Ok(Merged { text: merged, added }) } else { Err(unsuitable()) }
}

impl Additions {
    /// Those that no entry of `config` covers.
    pub fn missing_in(&self, config: &Config) -> Self {
        let of_port = |(port, additions): (&u16, &Vec<Addition<Expectation>>)| {
            let known = config.port(*port)?;
            let is_new =
                |addition: &&Addition<Expectation>| !covers(&known.expect, &addition.entry);
            let new: Vec<_> = additions.iter().filter(is_new).cloned().collect();
            (!new.is_empty()).then_some((*port, new))
        };
        let is_new = |addition: &&Addition<ListenerExpectation>| {
            let mut known = config.listeners.expect.iter();
            !known.any(|known| known.covers(&addition.entry))
        };
        let listeners = self.listeners.iter().filter(is_new);
        Self {
            ports: self.ports.iter().filter_map(of_port).collect(),
            listeners: listeners.cloned().collect(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty() && self.listeners.is_empty()
    }
}

fn covers(known: &[Expectation], entry: &Expectation) -> bool {
    known.iter().any(|known| known.covers(entry))
}

/// The configuration with the additions. Only the entries matter, not their order.
fn wanted(mut config: Config, additions: &Additions) -> Config {
    for port in &mut config.ports {
        let added = additions.ports.get(&port.number).into_iter().flatten();
        port.expect.extend(added.map(|addition| addition.entry.clone()));
    }
    let added = additions.listeners.iter().map(|addition| addition.entry.clone());
    config.listeners.expect.extend(added);
    config
}

/// Whether both are the same, and a port has at least the entries that are wanted: the others of its
/// range have them, too.
fn has_same_entries(after: &Config, wanted: &Config) -> bool {
    let without = |config: &Config| {
        let mut config = config.clone();
        config.ports.iter_mut().for_each(|port| port.expect.clear());
        config.listeners.expect.clear();
        config
    };
    let has_all = |port: &super::port::WatchedPort| {
        let got = after.port(port.number).map(|port| port.expect.as_slice());
        got.is_some_and(|got| port.expect.iter().all(|entry| got.contains(entry)))
    };
    let listeners = &after.listeners.expect;
    without(after) == without(wanted)
        && wanted.ports.iter().all(has_all)
        && wanted.listeners.expect.len() == listeners.len()
        && wanted.listeners.expect.iter().all(|entry| listeners.contains(entry))
}

/// Text to insert, and how much it replaces.
struct Edit {
    at: usize,
    replaced: usize,
    text: String,
}

struct Edits<'a> {
    text: &'a str,
    edits: Vec<Edit>,
    /// What follows the text.
    end: String,
}

/// An entry as YAML, and its evidence.
type Line = (String, String);

impl Edits<'_> {
    fn ports(&mut self, sections: &[Entry<'_>], config: &Config, additions: &Additions) {
        let lines = |port: u16| -> Vec<Line> {
            let added = additions.ports.get(&port).into_iter().flatten();
            added.map(|addition| (addition.entry.to_string(), addition.evidence.clone())).collect()
        };
        if additions.ports.is_empty() {
            return;
        }
        let Some(list) = section(sections, "ports") else {
            self.end += "ports:\n";
            for port in config.port_numbers() {
                let lines = lines(port);
                if lines.is_empty() {
                    self.end += &format!("  - {port}\n");
                } else {
                    self.end += &format!("  - port: {port}\n    expect:\n");
                    self.end += &block(&lines, 6);
                }
            }
            return;
        };
        let Value::List(items) = &list.value else { return };
        for item in items {
            let port = match &item.value {
                Value::Mapping(keys) => section(keys, "port"),
                _ => Some(item),
            };
            let Some(range) = port.and_then(|port| port_range(port).ok()) else { continue };
            let mut lines: Vec<Line> = range.ports().flat_map(lines).collect();
            lines.sort();
            lines.dedup_by(|one, other| one.0 == other.0);
            if !lines.is_empty() {
                self.port(item, &range.to_string(), &lines);
            }
        }
    }

    /// Adds entries to the item of a port.
    fn port(&mut self, item: &Node<'_>, range: &str, lines: &[Line]) {
        let Value::Mapping(keys) = &item.value else {
            let at = self.offset(item.position);
            let expect = flow(lines);
            let text = format!("{{port: {range}, expect: [{expect}]}}");
            self.comment_above(at, lines);
            return self.edits.push(Edit { at, replaced: range.len(), text });
        };
        match section(keys, "expect") {
            Some(expect) => self.add_to_list(expect, keys, "expect", lines),
            None => self.new_key(item, keys, "expect", lines),
        }
    }

    fn listeners(&mut self, sections: &[Entry<'_>], additions: &Additions) {
        let added = additions.listeners.iter();
        let lines: Vec<Line> =
            added.map(|addition| (addition.entry.to_string(), addition.evidence.clone())).collect();
        if lines.is_empty() {
            return;
        }
        match section(sections, "listeners") {
            None => {
                self.end += "listeners:\n  expect:\n";
                self.end += &block(&lines, 4);
            }
            Some(listeners) => match &listeners.value {
                Value::Mapping(keys) => match section(keys, "expect") {
                    Some(expect) => self.add_to_list(expect, keys, "expect", &lines),
                    None => self.new_key(listeners, keys, "expect", &lines),
                },
                _ => {
                    let text = format!("  expect:\n{}", block(&lines, 4));
                    self.below(key_position(sections, "listeners"), text);
                }
            },
        }
    }

    /// Adds entries at the beginning of a list, which is the value of a key.
    fn add_to_list(&mut self, list: &Node<'_>, keys: &[Entry<'_>], key: &str, lines: &[Line]) {
        let at = self.offset(list.position);
        match &list.value {
            Value::List(items) if self.text[at..].starts_with('[') => {
                let comma = if items.is_empty() { "" } else { ", " };
                self.comment_above(at, lines);
                let text = flow(lines) + comma;
                self.edits.push(Edit { at: at + 1, replaced: 0, text });
            }
            Value::List(items) => {
                // The position of an item is that of its value, behind `- `.
                let column = items.first().map_or(1, |item| item.position.column);
                let dash = self.dash(items.first().map(|item| item.position));
                self.below(key_position(keys, key), block(lines, dash.unwrap_or(column as usize)));
            }
            _ => {
                let position = key_position(keys, key);
                let indent = position.map_or(0, |position| position.column as usize - 1) + 2;
                self.below(position, block(lines, indent));
            }
        }
    }

    /// Adds a key with a list to a mapping.
    fn new_key(&mut self, mapping: &Node<'_>, keys: &[Entry<'_>], key: &str, lines: &[Line]) {
        let at = self.offset(mapping.position);
        if self.text[at..].starts_with('{') {
            self.comment_above(at, lines);
            let text = format!("{key}: [{}], ", flow(lines));
            return self.edits.push(Edit { at: at + 1, replaced: 0, text });
        }
        let Some(first) = keys.first() else { return };
        let indent = first.key_position.column as usize - 1;
        let text = format!("{key}:\n{}{:indent$}", block(lines, indent + 2), "");
        // Before the first key, on whose line the item may begin (`- port: 2948`).
        let at = self.offset(first.key_position);
        self.edits.push(Edit { at, replaced: 0, text });
    }

    /// Inserts lines below the line of a key.
    fn below(&mut self, key: Option<Position>, text: String) {
        let Some(key) = key else { return };
        let begin = self.offset(key);
        let line = self.text[begin..].find('\n').map(|end| begin + end + 1);
        match line {
            Some(at) => self.edits.push(Edit { at, replaced: 0, text }),
            None => {
                let at = self.text.len();
                self.edits.push(Edit { at, replaced: 0, text: format!("\n{text}") });
            }
        }
    }

    /// Inserts the evidence above the line at an offset: a flow collection has no room for comments.
    fn comment_above(&mut self, at: usize, lines: &[Line]) {
        let begin = self.text[..at].rfind('\n').map_or(0, |end| end + 1);
        let line = &self.text[begin..];
        let indent = line.len() - line.trim_start_matches(' ').len();
        let text =
            lines.iter().map(|(_, evidence)| format!("{:indent$}# {evidence}\n", "")).collect();
        self.edits.push(Edit { at: begin, replaced: 0, text });
    }

    /// Columns before the dash of an item.
    fn dash(&self, item: Option<Position>) -> Option<usize> {
        let at = self.offset(item?);
        let begin = self.text[..at].rfind('\n').map_or(0, |end| end + 1);
        self.text[begin..at].rfind('-')
    }

    /// The offset of a position, whose column counts characters.
    fn offset(&self, position: Position) -> usize {
        let lines = self.text.split_inclusive('\n');
        let before: usize = lines.take(position.line as usize - 1).map(str::len).sum();
        let columns = self.text[before..].char_indices().nth(position.column as usize - 1);
        columns.map_or(self.text.len(), |(offset, _)| before + offset)
    }

    /// The text with all edits.
    fn apply(mut self) -> String {
        // The last one first; of those at one place the later one, so that they stand in their order.
        self.edits.reverse();
        self.edits.sort_by_key(|edit| std::cmp::Reverse(edit.at));
        let mut text = self.text.to_owned();
        for Edit { at, replaced, text: new } in self.edits {
            text.replace_range(at..at + replaced, &new);
        }
        if !self.end.is_empty() && !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text + &self.end
    }
}

/// The value of a key.
fn section<'a, 'text>(entries: &'a [Entry<'text>], key: &str) -> Option<&'a Node<'text>> {
    entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
}

fn key_position(entries: &[Entry<'_>], key: &str) -> Option<Position> {
    entries.iter().find(|entry| entry.key == key).map(|entry| entry.key_position)
}

/// Items of a block list, each below its evidence.
fn block(lines: &[Line], indent: usize) -> String {
    let item =
        |(entry, evidence): &Line| format!("{:indent$}# {evidence}\n{:indent$}- {entry}\n", "", "");
    lines.iter().map(item).collect()
}

/// Items of a flow list.
fn flow(lines: &[Line]) -> String {
    let entries: Vec<&str> = lines.iter().map(|(entry, _)| entry.as_str()).collect();
    entries.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exe(path: &str) -> Expectation {
        Expectation { exe: path.parse().ok(), ..Expectation::default() }
    }

    fn additions() -> Additions {
        let port = Addition { entry: exe("/usr/sbin/bearerbox"), evidence: "12 binds".to_owned() };
        let entry = ListenerExpectation {
            ports: super::super::listeners::ListenerPorts::Range(8080.into()),
            owner: exe("/usr/sbin/nginx"),
        };
        Additions {
            ports: BTreeMap::from([(2948, vec![port])]),
            listeners: vec![Addition { entry, evidence: "3 times".to_owned() }],
        }
    }

    fn merged(text: &str) -> String {
        let merged = merge(Path::new("F"), text, &additions());
        merged.unwrap_or_else(|error| panic!("{text}\n{error}")).text
    }

    /// Whether the lines of the text are there in their order, and the entries are added once.
    fn check(text: &str, expected: &str) {
        let after = merged(text);
        assert_eq!(after, expected, "{text}");
        assert_eq!(merged(&after), after, "a second time");
    }

    #[test]
    fn keeps_comments_and_order_of_block_style() {
        check(
            "# mine\nports:\n  - 2923 # one\n  - port: 2948\n    # why\n    expect:\n      # known\n      \
             - {exe: /a}\nlisteners:\n  watch: all # every\n# end\n",
            "# mine\nports:\n  - 2923 # one\n  - port: 2948\n    # why\n    expect:\n      # 12 binds\n      \
             - {exe: \"/usr/sbin/bearerbox\"}\n      # known\n      - {exe: /a}\nlisteners:\n  expect:\n    \
             # 3 times\n    - {port: 8080, exe: \"/usr/sbin/nginx\"}\n  watch: all # every\n# end\n",
        );
    }

    #[test]
    fn adds_to_flow_style() {
        check(
            "ports: [2923, 2948] # two\nlisteners: {watch: all, expect: [{port: 1, exe: /a}]}",
            "# 12 binds\nports: [2923, {port: 2948, expect: [{exe: \"/usr/sbin/bearerbox\"}]}] # two\n# 3 times\n\
             listeners: {watch: all, expect: [{port: 8080, exe: \"/usr/sbin/nginx\"}, {port: 1, exe: /a}]}",
        );
        check(
            "ports:\n- {port: 2948, expect: []}\nlisteners: {}\n",
            "ports:\n# 12 binds\n- {port: 2948, expect: [{exe: \"/usr/sbin/bearerbox\"}]}\n# 3 times\n\
             listeners: {expect: [{port: 8080, exe: \"/usr/sbin/nginx\"}], }\n",
        );
    }

    #[test]
    fn adds_keys_and_sections_that_are_missing() {
        check(
            "ports:\n  - port: 2948\n    dormant_after: 1d\nlisteners:\n",
            "ports:\n  - expect:\n      # 12 binds\n      - {exe: \"/usr/sbin/bearerbox\"}\n    port: 2948\n    \
             dormant_after: 1d\nlisteners:\n  expect:\n    # 3 times\n    - {port: 8080, exe: \
             \"/usr/sbin/nginx\"}\n",
        );
        let after = merged("store: {retain: 1d}");
        assert!(
            after.starts_with("store: {retain: 1d}\nports:\n  - 2923\n  - port: 2948\n"),
            "{after}"
        );
        assert!(after.contains("listeners:\n  expect:\n    # 3 times\n"), "{after}");
    }

    #[test]
    fn a_range_gets_what_one_of_its_ports_needs() {
        let after = merged("ports: [2947-2949]");
        let range = "{port: 2947-2949, expect: [{exe: \"/usr/sbin/bearerbox\"}]}";
        assert!(after.contains(range), "{after}");
    }

    #[test]
    fn a_port_that_is_not_watched_gets_nothing() {
        let after = merged("ports: [9]\nlisteners: {}");
        assert!(after.starts_with("ports: [9]\n"), "{after}");
    }

    #[test]
    fn what_a_broader_entry_covers_is_not_added() {
        for known in [
            "ports: [{port: 2948, expect: [{exe: /usr/sbin/*}]}]\n\
             listeners: {expect: [{port: '*', exe: /usr/sbin/nginx}]}",
            "ports: [{port: 2940-2949, expect: [{exe: /usr/*/bearerbox}]}]\n\
             listeners: {expect: [{port: 8000-8100, exe: /usr/**}]}",
        ] {
            let merged = merge(Path::new("F"), known, &additions()).expect("merged");
            assert_eq!(merged, Merged { text: known.to_owned(), added: 0 });
        }
        let narrower = "ports: [{port: 2948, expect: [{exe: /usr/sbin/*, user: kannel}]}]\n\
                        listeners: {expect: [{port: 8081-8100, exe: /usr/sbin/nginx}]}";
        assert_eq!(merge(Path::new("F"), narrower, &additions()).expect("merged").added, 2);
    }

    #[test]
    fn a_broken_file_is_refused() {
        let error = merge(Path::new("F"), "ports: [x]", &additions()).expect_err("an error");
        assert!(error.to_string().starts_with("F:1:9: "), "{error}");
    }
}
