//! Command lines without a protocol: reverse and bind shells, and what worms type into Telnet.

use crate::{Identification, Payload, Verdict, details::Details};

mod commands;
mod found;
mod names;
mod output;
mod phrases;
mod prompt;

/// Bytes that are looked at.
const SAMPLE: usize = 512;

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    let bytes = &payload.bytes[..payload.bytes.len().min(SAMPLE)];
    let is_text = bytes.iter().all(|byte| {
        *byte >= 0x20 && *byte != 0x7f || matches!(byte, b'\t' | b'\r' | b'\n' | 0x07 | 0x08 | 0x1b)
    });
    if !is_text {
        return None;
    }
    let found = output::banner(bytes)
        .or_else(|| output::output(bytes))
        // What was cut has no end that a prompt could be.
        .or_else(|| (bytes.len() == payload.wire_len).then(|| prompt::prompt(bytes)).flatten())
        .or_else(|| phrases::worm(bytes))
        .or_else(|| phrases::phrase(bytes))
        .or_else(|| commands::commands(bytes, bytes.len() < payload.wire_len))?;
    let mut details = Details::default();
    match found.field {
        // Of both, what follows the first word may be anybody's secret.
        "command" | "commands" => details.set_command(found.field, found.text),
        _ => details.set_text(found.field, found.text),
    }
    Some(Identification::new(Verdict::Shell, found.grade, found.reason).with(details))
}
