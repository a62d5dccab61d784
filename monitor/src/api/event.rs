//! Events as a reader takes them: from the store, an answer, or the stream.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The answer of `/api/v1/events`. Each event is the JSON that was made when it happened.
#[derive(Debug, Serialize, Deserialize)]
pub struct Events {
    /// Newest last.
    pub events: Vec<Box<RawValue>>,
}

impl Events {
    /// The answer with these lines of JSON.
    ///
    /// # Errors
    /// A line is no JSON.
    pub fn from_lines(lines: Vec<String>) -> serde_json::Result<Self> {
        let events = lines.into_iter().map(RawValue::from_string).collect::<Result<_, _>>()?;
        Ok(Self { events })
    }
}
