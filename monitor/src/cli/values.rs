//! Parsers of values on the command line.

use std::{num::NonZeroU16, path::PathBuf, time::Duration};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use monitor_identify::Verdict;

use crate::{
    config::{PortRange, quantity},
    event::EventName,
    formats::EventFormat,
};

/// A port other than 0.
pub(super) fn port(text: &str) -> Result<u16, String> {
    let port = text.parse().map(NonZeroU16::get);
    port.map_err(|_| "expected a port from 1 to 65535".to_owned())
}

/// Ports in a row, or one alone.
pub(super) fn port_range(text: &str) -> Result<PortRange, String> {
    text.parse().map_err(|error| format!("{error}; expected {}", PortRange::EXPECTED))
}

/// A duration as the configuration has them.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    quantity::parse_duration(text).ok_or_else(|| format!("expected {}", quantity::DURATION))
}

/// The absolute path of a file that is read again later, when the working folder may be another one.
pub(super) fn absolute_path(text: &str) -> Result<PathBuf, String> {
    std::path::absolute(text).map_err(|error| error.to_string())
}

/// A kind of event, with the known ones in the help.
pub(super) fn event_kind() -> impl TypedValueParser<Value = EventName> {
    PossibleValuesParser::new(EventName::ALL.map(EventName::kind))
        .try_map(|kind| EventName::from_kind(&kind).ok_or("no such kind"))
}

/// A format of events.
pub(super) fn event_format() -> impl TypedValueParser<Value = EventFormat> {
    PossibleValuesParser::new(EventFormat::ALL.map(EventFormat::name)).try_map(|name| {
        let is_it = |format: &EventFormat| format.name() == name;
        EventFormat::ALL.into_iter().find(is_it).ok_or("no such format")
    })
}

/// A verdict on a payload. There are too many of them for a list.
pub(super) fn verdict(text: &str) -> Result<String, String> {
    let mut names = Verdict::ALL.iter().map(|verdict| verdict.name());
    if names.any(|name| name == text) {
        return Ok(text.to_owned());
    }
    let near = nearest(text, Verdict::ALL.iter().map(|verdict| verdict.name()));
    Err(match &near[..] {
        [] => {
            "no such verdict; there are http, tls, scan-nmap, wsp-push and many others".to_owned()
        }
        near => format!("no such verdict; did you mean {}?", near.join(" or ")),
    })
}

/// The names that are most like `text`, if some are: with few letters inserted, left out or replaced.
fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let most = 1 + text.chars().count() / 4;
    let near: Vec<(usize, &str)> = names
        .map(|name| (distance(text, name), name))
        .filter(|(distance, _)| *distance <= most)
        .collect();
    let least = near.iter().map(|(distance, _)| *distance).min();
    near.into_iter()
        .filter(|(distance, _)| Some(*distance) == least)
        .map(|(_, name)| name)
        .take(3)
        .collect()
}

/// How many letters have to be inserted, left out or replaced.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for column in 1..row.len() {
            let replaced = diagonal + usize::from(letter != other[column - 1]);
            diagonal = row[column];
            row[column] = replaced.min(diagonal + 1).min(row[column - 1] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_verdict_gets_a_similar_one() {
        for (text, near) in
            [("htp", "wtp or http or ftp"), ("scan-zmaps", "scan-zmap"), ("mongdb", "mongodb")]
        {
            let error = verdict(text).expect_err(text);
            assert_eq!(error, format!("no such verdict; did you mean {near}?"));
        }
        assert!(verdict("nothing-like-it").expect_err("none").contains("http, tls"));
        assert_eq!(verdict("wsp-push").as_deref(), Ok("wsp-push"));
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
