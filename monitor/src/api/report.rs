//! What may be said of ports for their retirement: the document of `report --format json`, which
//! `report --merge` reads as well.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;
use monitor_ledger::days::{Holding, Known};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of the document; a field may be added to it, none renamed or removed.
pub const REPORT_SCHEMA: &str = "ghostport.report/1";

/// A statement about ports of one host, or of several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// `ghostport.report/1`.
    pub schema: String,
    /// When it was made.
    pub generated: Timestamp,
    /// Begin of the time that it is about; of several hosts the latest one.
    pub since: Timestamp,
    /// Its end; of several hosts the earliest one.
    pub until: Timestamp,
    /// `used` if one of the ports was, `unknown` if that cannot be said of one, else `unused`.
    pub verdict: Verdict,
    /// The hosts, by name.
    pub hosts: Vec<HostReport>,
    /// The ports of each host, by port and host.
    pub ports: Vec<PortReport>,
}

/// What can be said.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing used it, and the time is covered.
    Unused,
    /// Nothing is known to have used it, but not all of the time is covered.
    Unknown,
    /// Something used it.
    Used,
}

/// One host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostReport {
    /// Its name.
    pub host: String,
    /// When its part was made.
    pub generated: Timestamp,
    /// Begin of its time.
    pub since: Timestamp,
    /// Its end: the last save of the agent, or now if that was long ago.
    pub until: Timestamp,
    /// Of all its ports.
    pub verdict: Verdict,
    /// When its history began; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_began: Option<Timestamp>,
    /// Events that were lost on these days; packets and binds are counted by the kernel all the same.
    #[serde(default)]
    pub events_lost: u64,
    /// Times in which no agent looked, the longest 100.
    #[serde(default)]
    pub gaps: Vec<Gap>,
    /// How many there were.
    #[serde(default)]
    pub gap_count: u64,
}

/// A time in which no agent looked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// When it began.
    pub since: Timestamp,
    /// When it ended.
    pub until: Timestamp,
    /// How long it was within the time of the report.
    pub seconds: f64,
}

/// One port of one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PortReport {
    /// The port.
    pub port: u16,
    /// The host.
    pub host: String,
    /// Its name in the catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What can be said.
    pub verdict: Verdict,
    /// Why, a sentence each.
    pub reasons: Vec<String>,
    /// How much of the time was covered.
    pub coverage: Coverage,
    /// Packets with the port at this host.
    pub packets: Packets,
    /// When the first of them was counted, within the days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_packet: Option<Timestamp>,
    /// And the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_packet: Option<Timestamp>,
    /// TCP connections that others attempted.
    pub attempts: u64,
    /// Connections accepted, and datagrams that left from the port.
    pub answers: u64,
    /// Flows that this host began to the port elsewhere.
    pub flows_begun: u64,
    /// Who called, and who was called.
    pub callers: Callers,
    /// Who bound it.
    pub binds: Binds,
    /// Who held it, the newest 100.
    pub holders: Vec<Holder>,
    /// Payloads by what they were identified as.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub verdicts: BTreeMap<String, u64>,
    /// Covered seconds in each state but quiet.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub states: BTreeMap<String, f64>,
    /// What is no use of the port.
    pub left_out: LeftOut,
    /// The days on which there was anything, UTC.
    pub days: Vec<DayReport>,
}

/// How much of a time was covered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Coverage {
    /// Length of the time.
    pub seconds: f64,
    /// How much of it an agent watched the port.
    pub covered_seconds: f64,
    /// The longest time that it did not.
    pub longest_gap_seconds: f64,
    /// Whether that is enough for a statement.
    pub is_whole: bool,
    /// When the port was first watched; absent if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched_since: Option<Timestamp>,
}

/// Packets by direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Packets {
    /// Received.
    pub received: u64,
    /// Ethernet frame bytes of these.
    pub bytes_received: u64,
    /// Sent.
    pub sent: u64,
    /// Ethernet frame bytes of these.
    pub bytes_sent: u64,
}

/// Remote addresses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Callers {
    /// Estimate of how many there were.
    pub addresses: u64,
    /// Those with the most packets.
    pub talkers: Vec<Caller>,
}

/// A remote address: at least these packets, in both directions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Caller {
    /// The address.
    pub address: IpAddr,
    /// Packets.
    #[serde(flatten)]
    pub packets: Packets,
}

/// Binds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Binds {
    /// Those that succeeded.
    pub succeeded: u64,
    /// Those that were refused.
    pub refused: u64,
    /// By whom, those with the most first.
    pub programs: Vec<Program>,
}

/// Binds of a program, by their events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Program {
    /// Path of the executable; absent if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<String>,
    /// Its user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Binds that succeeded.
    pub succeeded: u64,
    /// Binds that were refused.
    pub refused: u64,
}

/// A process that held a port, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Holder {
    /// Transport protocol.
    pub transport: String,
    /// Process id; absent for a socket of the kernel, and where the process could not be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Path of its executable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its effective user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its systemd unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub systemd_unit: Option<String>,
    /// Its container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// How that is known: `call` to the moment, `scan` at the latest then, `gap` if it was there when
    /// an agent looked again.
    pub since_by: String,
    /// Until when; absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// How that is known: `call`, `scan`, or `gap` if it was there when an agent last looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_by: Option<String>,
}

/// What is no use of a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    /// Packets that only passed through this host.
    pub transit: Packets,
    /// Packets with the port at the other host, in flows that this host did not begin: a client there
    /// has it by chance. All of the days on which this host began none.
    pub by_chance: Packets,
}

/// A day of a port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DayReport {
    /// The day, UTC.
    pub day: String,
    /// How much of it an agent looked.
    pub covered_seconds: f64,
    /// Packets at this host.
    pub packets: Packets,
    /// Flows that this host began.
    pub flows_begun: u64,
    /// Estimate of the remote addresses.
    pub addresses: u64,
    /// Binds that succeeded.
    pub binds: u64,
    /// Binds that were refused.
    pub refused: u64,
    /// Whether a process held the port at some time of it.
    pub held: bool,
}

impl From<&Holding> for Holder {
    fn from(holding: &Holding) -> Self {
        let known = |known: Known| match known {
            Known::Call => "call",
            Known::Scan => "scan",
            Known::Gap => "gap",
        };
        let process = &holding.holder;
        Holder {
            transport: holding.protocol().name().to_owned(),
            pid: Some(process.pid).filter(|pid| *pid > 0),
            executable: process.executable.clone(),
            name: process.name.clone(),
            user: process.user.clone(),
            systemd_unit: process.unit.clone(),
            container_id: process.container_id.clone(),
            since: holding.since,
            since_by: known(holding.since_by).to_owned(),
            until: holding.until,
            until_by: holding.until_by.map(|by| known(by).to_owned()),
        }
    }
}

impl Holder {
    /// Who it was and when.
    pub fn sentence(&self) -> String {
        let name = self.executable.as_deref().or(self.name.as_deref());
        let name = name.unwrap_or("a process that cannot be seen, or the kernel");
        let mut text = name.to_owned();
        let mut of = Vec::new();
        of.extend(self.pid.map(|pid| format!("pid {pid}")));
        of.extend(self.user.as_ref().map(|user| format!("user {user}")));
        of.extend(self.systemd_unit.clone());
        of.extend(self.container_id.as_ref().map(|id| format!("container {id:.12}")));
        of.push(self.transport.clone());
        text += &format!(" ({})", of.join(", "));
        let since = match self.since_by.as_str() {
            "call" => format!("since {:.0}", self.since),
            "gap" => format!("since before {:.0}", self.since),
            _ => format!("since {:.0} at the latest", self.since),
        };
        let until = match (self.until, self.until_by.as_deref()) {
            (None, _) => ", still at the last look".to_owned(),
            (Some(until), Some("call")) => format!(", until {until:.0}"),
            (Some(until), Some("gap")) => format!(", until {until:.0} at least"),
            (Some(until), _) => format!(", until {until:.0} at the latest"),
        };
        text + ", " + &since + &until
    }
}
