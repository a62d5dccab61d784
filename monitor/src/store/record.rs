//! An event as the store keeps it.

use jiff::Timestamp;

use crate::event::{EncodedEvent, JsonLine};

/// An event as the store keeps it: its JSON, and the columns that it is searched by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Time of day, nanoseconds since 1970.
    pub time_ns: i64,
    /// The port that it is about.
    pub port: Option<u16>,
    /// Its kind, without `ghostport.`.
    pub kind: &'static str,
    /// The event as JSON, shared with the stream and the sinks.
    pub line: JsonLine,
}

impl From<&EncodedEvent> for Record {
    fn from(encoded: &EncodedEvent) -> Self {
        Self {
            time_ns: nanoseconds(encoded.event.time),
            port: encoded.event.port(),
            kind: encoded.event.name().kind(),
            line: encoded.line.clone(),
        }
    }
}

/// Nanoseconds since 1970, clamped to the range of the database, which ends in 2262.
pub(super) fn nanoseconds(time: Timestamp) -> i64 {
    let nanoseconds = time.as_nanosecond();
    nanoseconds.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}
