//! Parsers of values on the command line.

use std::{num::NonZeroU16, path::PathBuf, time::Duration};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use monitor_identify::Verdict;

use crate::{
    config::{PortRange, quantity},
    event::EventName,
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

/// A verdict on a payload.
pub(super) fn verdict() -> impl TypedValueParser<Value = String> {
    PossibleValuesParser::new(
        Verdict::ALL.iter().map(|verdict| PossibleValue::new(verdict.name()).hide(true)),
    )
}
