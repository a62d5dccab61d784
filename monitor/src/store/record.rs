//! One event as it is kept.

use jiff::Timestamp;

use crate::event::Event;

/// One event as it is kept: its line, and what it is looked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Time of day, nanoseconds since 1970.
    pub time_ns: i64,
    /// The port that it is about.
    pub port: Option<u16>,
    /// Its kind, without `ghostport.`.
    pub kind: &'static str,
    /// The event as one JSON object, without line feed.
    pub line: String,
}

impl Record {
    /// `event` as it is kept.
    pub fn new(event: &Event) -> serde_json::Result<Self> {
        Ok(Self {
            time_ns: nanoseconds(event.time),
            port: event.port(),
            kind: event.name.kind(),
            line: serde_json::to_string(event)?,
        })
    }
}

/// Nanoseconds since 1970, in the range of the database, which ends in 2262.
pub(super) fn nanoseconds(time: Timestamp) -> i64 {
    let nanoseconds = time.as_nanosecond();
    nanoseconds.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}
