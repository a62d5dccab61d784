//! How a command ends: its output on stdout, or one message on stderr, and an exit code.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use serde::Serialize;

use super::message::message;

/// Exit code of a command that cannot do its job.
pub const CANNOT_WORK: u8 = 1;

/// Exit code of a command that cannot read what it is asked for.
pub const CANNOT_LOOK: u8 = 2;

/// Prints an answer. A reader that has closed its end of the pipe is no error.
pub fn print(answer: impl AsRef<[u8]>) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(answer.as_ref()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(CANNOT_LOOK, &error.into()),
        _ => ExitCode::SUCCESS,
    }
}

/// A document as indented JSON that ends in a line feed.
///
/// # Errors
/// A value cannot be written as JSON.
pub fn pretty_json(document: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(document).map(|json| json + "\n")
}

/// Prints what went wrong and what led to it, in one line on stderr.
pub fn fail(code: u8, error: &anyhow::Error) -> ExitCode {
    eprintln!("ghostport: {}", message(error));
    ExitCode::from(code)
}
