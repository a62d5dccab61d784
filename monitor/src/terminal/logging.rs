//! The agent's own log, on stderr: stdout belongs to events and answers.

use std::{
    env,
    io::{self, IsTerminal},
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::cli::{LogFormat, LogLevel};

/// Sends `tracing` and `log` records of `level` and above to stderr.
///
/// The environment has no say in the level: what a unit file shows is what happens.
pub fn init(level: LogLevel, format: LogFormat) -> Result<(), TryInitError> {
    let builder = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(LevelFilter::from(level))
        // A log that cannot be written has nowhere to say so.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => builder.with_ansi(colour_is_wanted(&io::stderr())).finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    }
}

/// Colour is for eyes: a terminal, and nobody who asked for none (<https://no-color.org>).
pub fn colour_is_wanted(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}
