//! From a payload to its verdict.

use crate::{Identification, Payload, fallback, legacy, modern, signature::Table};

static LEGACY: Table = Table::new(legacy::SIGNATURES);
static MODERN: Table = Table::new(modern::SIGNATURES);

/// Identifies a payload.
///
/// Takes time in proportion to the length of the payload, and does not panic.
pub fn identify(payload: &Payload<'_>) -> Identification {
    if payload.bytes.is_empty() {
        return fallback::empty(payload);
    }
    let identified = LEGACY.identify(payload).or_else(|| MODERN.identify(payload));
    identified.unwrap_or_else(|| fallback::identify(payload))
}
