//! How a port is answered that no socket holds.

use std::{fmt::Write as _, ops::Not};

use monitor_common::flow::Protocol;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{end::End, named};
use crate::sockets::{Path, PortReach, Standing};

/// A way to a port that leads past its sockets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnsweredBy {
    /// Transport protocol.
    #[schemars(with = "String")]
    #[serde(with = "named")]
    pub transport: Protocol,
    /// What leads packets elsewhere.
    #[schemars(with = "String")]
    #[serde(with = "named")]
    pub path: Path,
    /// Whether packets are answered on this way; otherwise it is configured, or over.
    pub in_use: bool,
    /// Whether it is no longer there: packets were answered on it, and now nothing leads there.
    #[serde(skip_serializing_if = "Not::not", default)]
    pub over: bool,
    /// Connections on this way now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub connections: Option<u64>,
    /// Inode of the network namespace whose tables have it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub netns_inode: Option<u32>,
    /// Where it leads.
    #[serde(flatten)]
    pub end: End,
}

impl AnsweredBy {
    /// The ways that were found to `port`.
    pub fn list(reaches: &[PortReach], port: u16) -> Vec<Self> {
        reaches.iter().filter(|reach| reach.port == port).map(Self::from).collect()
    }

    /// One line, such as `2948 is answered by DNAT to 10.244.1.7:8080 (nginx, 41 connections)`.
    pub fn sentence(&self, port: u16) -> String {
        let is = match (self.in_use, self.path) {
            (true, _) => "is",
            _ if self.over => "was, and is no longer,",
            // Which packets a program takes is up to the program.
            (false, Path::SkLookup | Path::Xdp) => "may be",
            (false, _) => "is configured to be",
        };
        let mut sentence = format!("{port} {is} answered by {}", words(self.path));
        if let Some(target) = &self.end.target {
            let _ = write!(sentence, "{}{target}", before_target(self.path));
        }
        let _ = write!(sentence, " ({})", self.end.details(self.count()));
        sentence
    }

    /// The protocol, with the number of connections if it is known.
    fn count(&self) -> String {
        let transport = self.transport.name();
        match self.connections {
            None => transport.to_owned(),
            Some(0) => format!("no {transport} connection now"),
            Some(1) => format!("1 {transport} connection"),
            Some(count) => format!("{count} {transport} connections"),
        }
    }
}

/// The path in a sentence.
const fn words(path: Path) -> &'static str {
    match path {
        Path::Dnat => "DNAT",
        Path::Redirect => "redirect",
        Path::Ipvs => "IPVS",
        Path::Tproxy => "TPROXY",
        Path::SkLookup => "a sk_lookup program",
        Path::Sockmap => "a program on sockets",
        Path::Xdp => "an XDP program",
        Path::PacketSocket => "a packet socket",
        Path::RawSocket => "a raw socket",
        Path::Unknown => "something unknown",
    }
}

/// What joins the path and its target: an address, a program, or a process.
const fn before_target(path: Path) -> &'static str {
    match path {
        Path::SkLookup | Path::Sockmap | Path::Xdp => ", ",
        Path::PacketSocket | Path::RawSocket => " of ",
        Path::Dnat | Path::Redirect | Path::Ipvs | Path::Tproxy | Path::Unknown => " to ",
    }
}

impl From<&PortReach> for AnsweredBy {
    fn from(found: &PortReach) -> Self {
        Self {
            transport: found.protocol,
            path: found.reach.path,
            in_use: found.standing == Standing::InUse,
            over: found.standing == Standing::Over,
            connections: found.connections,
            netns_inode: Some(found.netns_inode),
            end: End::new(
                found.reach.target.as_ref(),
                (found.place, Some(found.netns_inode)),
                found.pod.as_ref(),
                &found.holders,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        api::socket::Holder,
        sockets::{Place, Reach},
    };

    fn reach(place: Place, connections: Option<u64>) -> AnsweredBy {
        let target = Some("10.244.1.7:8080".to_owned());
        AnsweredBy::from(&PortReach {
            port: 2948,
            protocol: Protocol::Tcp,
            netns_inode: 7,
            reach: Reach { path: Path::Dnat, target },
            standing: match connections {
                Some(0) => Standing::Over,
                Some(_) => Standing::InUse,
                None => Standing::Configured,
            },
            connections,
            place,
            pod: None,
            holders: Vec::new(),
        })
    }

    #[test]
    fn a_line_says_how_and_by_whom() {
        let mut used = reach(Place::Here, Some(41));
        used.end.holders = Some(vec![Arc::new(Holder {
            pid: 7,
            parent_pid: None,
            executable: None,
            executable_is_deleted: false,
            name: Some("nginx".to_owned()),
            command_args: None,
            user: None,
            container_id: None,
            systemd_unit: Some("nginx.service".to_owned()),
            evidence: None,
        })]);
        assert_eq!(
            used.sentence(2948),
            "2948 is answered by DNAT to 10.244.1.7:8080 (nginx.service, nginx, 41 tcp connections)"
        );
        assert_eq!(
            reach(Place::Elsewhere, None).sentence(2948),
            "2948 is configured to be answered by DNAT to 10.244.1.7:8080 (another host, tcp)"
        );
        assert_eq!(
            reach(Place::Elsewhere, Some(0)).sentence(2948),
            "2948 was, and is no longer, answered by DNAT to 10.244.1.7:8080 \
             (another host, no tcp connection now)"
        );
    }

    #[test]
    fn a_line_says_which_program_or_process_answers() {
        let of = |path, target: Option<&str>| {
            let mut found = AnsweredBy { path, in_use: true, ..reach(Place::Unknown, None) };
            found.end.target = target.map(str::to_owned);
            found.sentence(2948)
        };
        let line = of(Path::SkLookup, Some("tubular (program 12)"));
        assert_eq!(line, "2948 is answered by a sk_lookup program, tubular (program 12) (tcp)");
        let line = of(Path::PacketSocket, Some("nc (pid 7)"));
        assert_eq!(line, "2948 is answered by a packet socket of nc (pid 7) (tcp)");
        assert_eq!(of(Path::Unknown, None), "2948 is answered by something unknown (tcp)");
    }

    #[test]
    fn unknown_fields_are_absent() {
        let json = serde_json::to_value(reach(Place::Unknown, None)).expect("JSON");
        let expected = serde_json::json!({
            "transport": "tcp",
            "path": "dnat",
            "target": "10.244.1.7:8080",
            "in_use": false,
            "netns_inode": 7,
        });
        assert_eq!(json, expected);
        let read: AnsweredBy = serde_json::from_value(json).expect("read back");
        assert_eq!(read, reach(Place::Unknown, None));
    }
}
