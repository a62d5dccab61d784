//! The program's own log, on stderr: stdout belongs to events and answers.

use std::{
    env, fmt,
    io::{self, IsTerminal},
};

use clap::ValueEnum;
use tracing::{
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FormatFields, format::Writer},
    util::{SubscriberInitExt, TryInitError},
};

use super::escape::escaped;

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
        LogFormat::Text => {
            let builder = builder.with_ansi(colour_is_wanted(&io::stderr()));
            builder.fmt_fields(EscapedFields).finish().try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    }
}

/// Writes a message and its fields as they are usually written, with what is in them escaped: names
/// and errors come from other programs.
struct EscapedFields;

impl<'writer> FormatFields<'writer> for EscapedFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = EscapedVisitor { writer, separator: "", result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct EscapedVisitor<'writer> {
    writer: Writer<'writer>,
    separator: &'static str,
    result: fmt::Result,
}

impl Visit for EscapedVisitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Records of the crate `log` say in such fields where they are from.
        if self.result.is_err() || field.name().starts_with("log.") {
            return;
        }
        let value = format!("{value:?}");
        let (separator, value) = (self.separator, escaped(&value));
        self.result = match field.name() {
            "message" => write!(self.writer, "{separator}{value}"),
            name => write!(self.writer, "{separator}{name}={value}"),
        };
        self.separator = " ";
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What a subscriber writes.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("a lock").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn names_of_others_are_escaped() {
        const HOSTILE: &str = "eth\u{1b}[2J\u{202e}\r\nforged";
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .fmt_fields(EscapedFields)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(interface = %HOSTILE, count = 2, name = HOSTILE, "lost {HOSTILE}");
        });
        let written = written.0.lock().expect("a lock").clone();
        let line = String::from_utf8(written).expect("text");
        let shown = "eth\\u{1b}[2J\\u{202e}\\u{d}\\u{a}forged";
        assert!(line.contains(&format!("lost {shown} interface={shown} count=2")), "{line}");
        assert!(!line.trim_end_matches('\n').contains(|character: char| character.is_control()));
        assert!(!line.contains('\u{202e}'), "{line}");
    }
}
