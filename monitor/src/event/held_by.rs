//! What was in the way of a bind.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;

use super::caller::CallerFields;
use crate::sockets::{Occupant, OccupantKind};

/// What was in the way of a bind, as `ghostport.held_by` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "every field is explained by the name it is serialized with")]
pub struct HeldBy {
    /// `process`, `outgoing_connection`, `connection`, `time_wait` or `kernel`.
    pub kind: &'static str,
    #[serde(rename = "network.local.address")]
    pub local_address: IpAddr,
    #[serde(rename = "network.local.port")]
    pub local_port: u16,
    #[serde(rename = "network.peer.address", skip_serializing_if = "Option::is_none")]
    pub peer_address: Option<IpAddr>,
    #[serde(rename = "network.peer.port", skip_serializing_if = "Option::is_none")]
    pub peer_port: Option<u16>,
    /// `program` if the port is none that the kernel chooses by itself.
    #[serde(rename = "ghostport.port_chosen_by", skip_serializing_if = "Option::is_none")]
    pub port_chosen_by: Option<&'static str>,
    /// A process that holds it, if one is known.
    #[serde(flatten)]
    pub holder: Option<CallerFields>,
}

impl HeldBy {
    /// From what was found after a bind that was refused at `refused`. `port_is_automatic` is whether
    /// the kernel chooses this port for sockets that name none; `None` if that is not known. `None` if
    /// every holder is younger than the refusal: then something else was in the way.
    pub fn new(
        occupant: &Occupant,
        port_is_automatic: Option<bool>,
        refused: Timestamp,
    ) -> Option<Self> {
        let is_older = |created: Option<Timestamp>| created.is_none_or(|at| at <= refused);
        let mut holders = occupant.holders.iter();
        let holder = holders.find(|holder| is_older(holder.creation_time));
        if holder.is_none() && !occupant.holders.is_empty() {
            return None;
        }
        let kind = match (occupant.kind, port_is_automatic) {
            (OccupantKind::Socket, _) => "process",
            // A server of this host would listen elsewhere.
            (OccupantKind::Connection, Some(true)) => "outgoing_connection",
            (OccupantKind::Connection, _) => "connection",
            (OccupantKind::TimeWait, _) => "time_wait",
            (OccupantKind::Kernel, _) => "kernel",
        };
        Some(Self {
            kind,
            local_address: occupant.local.ip(),
            local_port: occupant.local.port(),
            peer_address: occupant.peer.map(|peer| peer.ip()),
            peer_port: occupant.peer.map(|peer| peer.port()),
            port_chosen_by: (port_is_automatic == Some(false)).then_some("program"),
            holder: holder.map(|holder| CallerFields::found(holder)),
        })
    }
}
