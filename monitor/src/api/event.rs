//! Events as a reader takes them: from the store, an answer, or the stream.

use std::fmt;

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

/// The fields of an event that a person is shown. Events have more, and events of other versions may
/// have others, which are ignored.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "every field is explained by the name it is read by")]
pub struct EventSummary {
    pub time: Option<String>,
    #[serde(rename = "event.name")]
    pub name: Option<String>,
    #[serde(rename = "ghostport.port")]
    pub port: Option<u16>,
    #[serde(rename = "network.local.port")]
    pub local_port: Option<u16>,
    #[serde(rename = "network.local.address")]
    pub local_address: Option<String>,
    #[serde(rename = "network.peer.address")]
    pub peer_address: Option<String>,
    #[serde(rename = "network.transport")]
    pub transport: Option<String>,
    #[serde(rename = "network.interface.name")]
    pub interface: Option<String>,
    #[serde(rename = "process.pid")]
    pub pid: Option<u32>,
    #[serde(rename = "process.executable.name")]
    pub executable_name: Option<String>,
    #[serde(rename = "thread.name")]
    pub thread_name: Option<String>,
    #[serde(rename = "service.version")]
    pub agent_version: Option<String>,
    #[serde(rename = "ghostport.hook")]
    pub hook: Option<String>,
    #[serde(rename = "ghostport.mechanism")]
    pub mechanism: Option<String>,
    #[serde(rename = "ghostport.errno")]
    pub errno: Option<Errno>,
    #[serde(rename = "ghostport.verdict")]
    pub verdict: Option<String>,
    #[serde(rename = "ghostport.reason")]
    pub reason: Option<String>,
    #[serde(rename = "ghostport.filter")]
    pub filter: Option<String>,
    #[serde(rename = "ghostport.severity")]
    pub severity: Option<String>,
    #[serde(rename = "ghostport.expected")]
    pub expected: Option<bool>,
    #[serde(rename = "ghostport.systemd_unit")]
    pub systemd_unit: Option<String>,
    #[serde(rename = "container.id")]
    pub container_id: Option<String>,
    #[serde(rename = "container.name")]
    pub container_name: Option<String>,
    #[serde(rename = "ghostport.path")]
    pub path: Option<String>,
    #[serde(rename = "ghostport.path_target")]
    pub path_target: Option<String>,
    #[serde(rename = "ghostport.peers")]
    pub peers: Option<u64>,
    #[serde(rename = "ghostport.summary_of")]
    pub summary_of: Option<String>,
    #[serde(rename = "ghostport.count")]
    pub count: Option<u64>,
    #[serde(rename = "ghostport.executable_sha256")]
    pub sha256: Option<String>,
    #[serde(rename = "ghostport.package")]
    pub package: Option<String>,
    #[serde(rename = "ghostport.package_version")]
    pub package_version: Option<String>,
    #[serde(rename = "ghostport.executable_modified")]
    pub is_modified: Option<bool>,
    #[serde(rename = "ghostport.executable_memfd")]
    pub is_memfd: bool,
    #[serde(rename = "ghostport.executable_deleted")]
    pub is_deleted: bool,
    #[serde(rename = "ghostport.script")]
    pub script: Option<String>,
    #[serde(rename = "ghostport.dormant_for_seconds")]
    pub dormant_for_seconds: Option<f64>,
}

/// An error number by its name in `errno.h`, or the number where it has no name there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "the names explain themselves")]
pub enum Errno {
    Name(String),
    Number(u32),
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Number(number) => number.fmt(f),
        }
    }
}
