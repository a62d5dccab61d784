//! Values of a YAML tree as Rust values, or the problem with them.

use std::{fmt::Display, str::FromStr, time::Duration};

use super::{
    disk_reserve::DiskReserve,
    pattern::PatternError,
    port_range::{PortRange, PortRangeError},
    quantity,
    yaml::{Entry, Node, Problem, Value, excerpt},
};

/// A key of a mapping inside a list: of a port, an expectation or a sink.
#[derive(Clone, Copy, Debug)]
pub struct NestedKey {
    /// Its name.
    pub name: &'static str,
    /// What its value is, in Markdown.
    pub value: &'static str,
    /// What it does, in Markdown.
    pub help: &'static str,
}

/// Ports by their numbers alone.
pub(super) fn port_range(node: &Node<'_>) -> Result<PortRange, Problem> {
    let problem = |message: String| Problem::new(node.position, message, PortRange::EXPECTED);
    match &node.value {
        Value::Plain(text) => {
            text.parse().map_err(|error: PortRangeError| problem(error.to_string()))
        }
        other => Err(problem(format!("{other} is not a port"))),
    }
}

/// The names of `keys`, in their order.
pub(super) fn names<const N: usize>(keys: &[NestedKey; N]) -> [&'static str; N] {
    keys.map(|key| key.name)
}

/// The values of the keys `allowed`; any other key, and any key twice, is a problem.
pub(super) fn section<'text, const N: usize>(
    node: Node<'text>,
    allowed: [&'static str; N],
) -> Result<[Option<Node<'text>>; N], Problem> {
    let mut found = [const { None }; N];
    fill(node, &allowed, &mut found)?;
    Ok(found.map(|entry| entry.map(|entry| entry.value)))
}

/// As [`section`], for names that are known only at run time.
pub(super) fn section_of<'text>(
    node: Node<'text>,
    allowed: &[&'static str],
) -> Result<Vec<Option<Node<'text>>>, Problem> {
    let mut found: Vec<Option<Entry<'text>>> = allowed.iter().map(|_| None).collect();
    fill(node, allowed, &mut found)?;
    Ok(found.into_iter().map(|entry| entry.map(|entry| entry.value)).collect())
}

/// Puts each entry of the mapping `node` where its key is in `allowed`.
fn fill<'text>(
    node: Node<'text>,
    allowed: &[&'static str],
    found: &mut [Option<Entry<'text>>],
) -> Result<(), Problem> {
    let keys = || one_of(allowed);
    let entries = match node.value {
        Value::Mapping(entries) => entries,
        // A section whose keys are all commented out.
        Value::Null => Vec::new(),
        other => {
            let message = format!("{other} in the place of a mapping");
            return Err(Problem::new(node.position, message, format!("the keys {}", keys())));
        }
    };
    for entry in entries {
        let Some(index) = allowed.iter().position(|key| *key == entry.key) else {
            let message = format!("unknown key `{}`", excerpt(&entry.key));
            return Err(Problem::new(entry.key_position, message, keys()));
        };
        if let Some(first) = &found[index] {
            let line = first.key_position.line;
            let message = format!("the key `{}` is already in line {line}", entry.key);
            return Err(Problem::new(entry.key_position, message, "every key once"));
        }
        found[index] = Some(entry);
    }
    Ok(())
}

/// The items of a list, each read by `item`.
pub(super) fn list<'text, T>(
    node: Node<'text>,
    expected: &str,
    mut item: impl FnMut(Node<'text>) -> Result<T, Problem>,
) -> Result<Vec<T>, Problem> {
    match node.value {
        Value::List(items) => items.into_iter().map(&mut item).collect(),
        other => {
            let message = format!("{other} in the place of a list");
            Err(Problem::new(node.position, message, expected))
        }
    }
}

/// A scalar as text.
pub(super) fn string<'node>(node: &'node Node<'_>, expected: &str) -> Result<&'node str, Problem> {
    match &node.value {
        Value::Plain(text) | Value::Quoted(text) | Value::Literal(text) => Ok(text),
        other => {
            let message = format!("{other} in the place of a string");
            Err(Problem::new(node.position, message, expected))
        }
    }
}

/// One of `choices`, by its name.
pub(super) fn choice<T: Copy, const N: usize>(
    node: Node<'_>,
    choices: [T; N],
    name: impl Fn(T) -> &'static str,
) -> Result<T, Problem> {
    let expected = || one_of(choices.map(&name));
    let text = string(&node, &expected())?;
    choices.into_iter().find(|choice| name(*choice) == text).ok_or_else(|| {
        Problem::new(node.position, format!("`{}` is not known here", excerpt(text)), expected())
    })
}

/// `true` or `false`, as in YAML 1.2, where `yes` is a string.
pub(super) fn boolean(node: &Node<'_>) -> Result<bool, Problem> {
    match &node.value {
        Value::Plain(text) if text == "true" => Ok(true),
        Value::Plain(text) if text == "false" => Ok(false),
        other => {
            Err(Problem::new(node.position, format!("{other} is no boolean"), "true or false"))
        }
    }
}

/// `a, b or c`.
pub(super) fn one_of(names: impl IntoIterator<Item = impl Display>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    match names.as_slice() {
        [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

/// An absolute path. The agent never changes its working directory, but the program that starts it
/// may, and a relative path would name another file then.
pub(super) fn absolute<'node>(
    node: &'node Node<'_>,
    expected: &str,
) -> Result<&'node str, Problem> {
    let text = string(node, expected)?;
    if text.starts_with('/') && !text.contains('\0') {
        return Ok(text);
    }
    let message = format!("`{}` is not an absolute path", excerpt(text));
    Err(Problem::new(node.position, message, expected))
}

/// A glob of its own kind.
pub(super) fn matching<T: FromStr<Err = PatternError>>(
    node: &Node<'_>,
    expected: &str,
) -> Result<T, Problem> {
    string(node, expected)?
        .parse()
        .map_err(|error: PatternError| Problem::new(node.position, error.to_string(), expected))
}

/// A duration, as `7d`.
pub(super) fn duration(node: &Node<'_>) -> Result<Duration, Problem> {
    quantity_of(node, quantity::parse_duration, "duration", quantity::DURATION)
}

/// A size, or `none`.
pub(super) fn size_or_none(node: &Node<'_>) -> Result<Option<u64>, Problem> {
    let expected = format!("{}, or none", quantity::SIZE);
    if string(node, &expected)? == "none" {
        return Ok(None);
    }
    quantity_of(node, quantity::parse_size, "size", &expected).map(Some)
}

/// A size, `none` or `auto`.
pub(super) fn disk_reserve(node: &Node<'_>) -> Result<DiskReserve, Problem> {
    let expected = format!("{}, none or auto", quantity::SIZE);
    match string(node, &expected)? {
        "auto" => Ok(DiskReserve::Usual),
        "none" => Ok(DiskReserve::Bytes(0)),
        _ => quantity_of(node, quantity::parse_size, "size", &expected).map(DiskReserve::Bytes),
    }
}

/// A number with a unit, which `parse` reads.
pub(super) fn quantity_of<T>(
    node: &Node<'_>,
    parse: fn(&str) -> Option<T>,
    what: &str,
    expected: &str,
) -> Result<T, Problem> {
    let text = string(node, expected)?;
    parse(text).ok_or_else(|| {
        let message = format!("`{}` is no {what} that can be used", excerpt(text));
        Problem::new(node.position, message, expected)
    })
}
