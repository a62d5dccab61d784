//! The program's own log, on stderr: stdout belongs to events and answers.

use std::{
    env,
    io::{self, IsTerminal},
};

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What makes the agent useless.
    Error,
    /// What the operator should know of.
    Warn,
    /// What the agent does.
    #[default]
    Info,
    /// Why it does it.
    Debug,
    /// Everything.
    Trace,
}

/// How it is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines to read.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends `tracing` and `log` records of `level` and above to stderr.
///
/// The environment does not change the level: what a unit file shows is what happens.
///
/// # Errors
/// A subscriber is installed already.
pub fn init(level: LogLevel, format: LogFormat) -> Result<(), TryInitError> {
    let builder = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(LevelFilter::from(level))
        // An error while writing the log has no other place to go.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => builder.with_ansi(colour_is_wanted(&io::stderr())).finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    }
}

/// Logs at `level` for a command that prints its result: a subscriber that is installed already
/// stays.
pub fn init_for_command(level: LogLevel) {
    let _ = init(level, LogFormat::Text);
}

/// Whether `stream` is a terminal and `NO_COLOR` is unset (<https://no-color.org>).
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
