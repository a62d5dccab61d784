//! The process that last sent to a watched port of another host.

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use monitor_common::flow::Protocol;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{named, socket::Holder};
use crate::event::{CallerFields, Connect, Event, EventBody, EventName};

/// A call that sent to the port of another host, and the process that made it, which may have ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sender {
    /// When it was.
    pub time: Timestamp,
    /// Transport protocol.
    #[schemars(with = "String")]
    #[serde(with = "named")]
    pub transport: Protocol,
    /// Address of the other host; absent for calls to several.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peer_address: Option<IpAddr>,
    /// The process, as it was at that time; absent where it is not known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub process: Option<Holder>,
}

/// The fields of a stored event that [`Sender`] has, too.
#[derive(Deserialize)]
struct Stored {
    #[serde(rename = "event.name")]
    name: String,
    time: Timestamp,
    #[serde(rename = "ghostport.last_time")]
    last_time: Option<Timestamp>,
    #[serde(rename = "ghostport.port")]
    port: u16,
    #[serde(rename = "network.transport")]
    transport: String,
    #[serde(rename = "network.peer.address")]
    peer_address: Option<IpAddr>,
    #[serde(rename = "ghostport.summary_of")]
    summary_of: Option<String>,
    #[serde(flatten)]
    process: Option<StoredProcess>,
}

#[derive(Deserialize)]
struct StoredProcess {
    #[serde(rename = "process.pid")]
    pid: u32,
    #[serde(rename = "process.parent_pid")]
    parent_pid: Option<u32>,
    #[serde(rename = "process.executable.path")]
    executable: Option<String>,
    #[serde(rename = "ghostport.executable_deleted", default)]
    executable_is_deleted: bool,
    #[serde(rename = "process.executable.name")]
    name: Option<String>,
    #[serde(rename = "process.command_args")]
    command_args: Option<Vec<String>>,
    #[serde(rename = "process.user.id")]
    user_id: Option<u32>,
    #[serde(rename = "process.user.name")]
    user_name: Option<String>,
    #[serde(rename = "container.id")]
    container_id: Option<String>,
    #[serde(rename = "ghostport.systemd_unit")]
    systemd_unit: Option<String>,
}

impl Sender {
    /// The port and the sender of an event; `None` if it is about something else.
    pub fn of_event(event: &Event) -> Option<(u16, Self)> {
        let EventBody::Connect(Connect { call, peer_address, port }) = &event.body else {
            return None;
        };
        let sender = Self {
            time: event.stands_for().last,
            transport: call.socket.transport?,
            peer_address: *peer_address,
            process: call.caller.as_ref().map(Holder::from),
        };
        Some((*port, sender))
    }

    /// The same of an event that was stored, which is one line of JSON, and of a summary of such.
    pub fn of_line(line: &str) -> Option<(u16, Self)> {
        let stored: Stored = serde_json::from_str(line).ok()?;
        let kind = stored.summary_of.as_deref().or(stored.name.strip_prefix("ghostport."))?;
        if kind != EventName::Connect.kind() {
            return None;
        }
        let transport = Protocol::ALL.into_iter().find(|known| known.name() == stored.transport)?;
        let sender = Self {
            time: stored.last_time.unwrap_or(stored.time),
            transport,
            peer_address: stored.peer_address,
            process: stored.process.map(Holder::from),
        };
        Some((stored.port, sender))
    }

    /// What it did, on `port`: `tcp to 192.0.2.7:2948`.
    pub fn target(&self, port: u16) -> String {
        let transport = self.transport.name();
        match self.peer_address {
            Some(address) => format!("{transport} to {}", SocketAddr::from((address, port))),
            None => format!("{transport} to port {port} of several hosts"),
        }
    }

    /// The process by its name and number.
    pub fn program(&self) -> String {
        let Some(process) = &self.process else { return "a process that is not known".to_owned() };
        format!("{}[{}]", process.name.as_deref().unwrap_or("?"), process.pid)
    }
}

impl From<&CallerFields> for Holder {
    fn from(caller: &CallerFields) -> Self {
        let identity = &caller.identity;
        Self {
            pid: caller.pid,
            parent_pid: caller.parent_pid,
            executable: identity.executable_path.clone(),
            executable_is_deleted: identity.executable_deleted,
            name: caller.executable_name.clone(),
            command_args: caller.command_args.clone(),
            user: user(identity.user_name.clone(), caller.user_id),
            container_id: identity.container_id.clone(),
            systemd_unit: identity.systemd_unit.clone(),
            evidence: None,
        }
    }
}

impl From<StoredProcess> for Holder {
    fn from(stored: StoredProcess) -> Self {
        Self {
            pid: stored.pid,
            parent_pid: stored.parent_pid,
            executable: stored.executable,
            executable_is_deleted: stored.executable_is_deleted,
            name: stored.name,
            command_args: stored.command_args,
            user: user(stored.user_name, stored.user_id),
            container_id: stored.container_id,
            systemd_unit: stored.systemd_unit,
            evidence: None,
        }
    }
}

/// The name of a user, or its number where it has no name.
fn user(name: Option<String>, id: Option<u32>) -> Option<String> {
    name.or(id.map(|id| id.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every kind of event, of which some are about senders.
    const EVENTS: &str = include_str!("../event/golden.jsonl");

    #[test]
    fn reads_the_sender_of_stored_events() {
        let senders: Vec<(u16, Sender)> = EVENTS.lines().filter_map(Sender::of_line).collect();
        let [(port, known), (_, unknown), (_, several)] = &senders[..] else {
            panic!("{senders:?}")
        };
        assert_eq!((*port, known.target(*port)), (2948, "udp to 127.0.0.1:2948".into()));
        assert_eq!(known.program(), "bearerbox[100]");
        let process = known.process.as_ref().expect("a process");
        assert_eq!(process.executable.as_deref(), Some("/usr/sbin/bearerbox"));
        assert_eq!(unknown.process, None);
        assert_eq!(several.target(2948), "udp to port 2948 of several hosts");
    }

    #[test]
    fn json_is_read_back_as_it_was_written() {
        for (_, sender) in EVENTS.lines().filter_map(Sender::of_line) {
            let json = serde_json::to_string(&sender).expect("JSON");
            let read: Sender = serde_json::from_str(&json).expect("a sender");
            assert_eq!(serde_json::to_string(&read).expect("JSON"), json);
        }
    }
}
