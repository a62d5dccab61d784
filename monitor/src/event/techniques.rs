//! Techniques of MITRE ATT&CK that an event may be a sign of: <https://attack.mitre.org>, version 17.
//! Pure.

use monitor_identify::Verdict;

use super::{
    body::{Conversations, Event, EventBody, Identified, Summary},
    severity::Severity,
};
use crate::sockets::{CaptureKind, Path};

/// Non-Standard Port.
const NON_STANDARD_PORT: &str = "T1571";
/// Traffic Signaling.
const TRAFFIC_SIGNALING: &str = "T1205";
/// Traffic Signaling: Socket Filters.
const SOCKET_FILTERS: &str = "T1205.002";
/// Network Service Discovery.
const SERVICE_DISCOVERY: &str = "T1046";
/// Remote Services, and four of its kinds.
const REMOTE_SERVICES: &str = "T1021";
const REMOTE_DESKTOP: &str = "T1021.001";
const SMB: &str = "T1021.002";
const SSH: &str = "T1021.004";
const VNC: &str = "T1021.005";

impl Event {
    /// The ids of the techniques; none for most events.
    pub fn attack_techniques(&self) -> &'static [&'static str] {
        match &self.body {
            EventBody::Identified(identified) => of_conversation(identified),
            EventBody::Summary(Summary::Conversations(all)) => {
                let Conversations { last, .. } = &**all;
                of_conversation(last)
            }
            _ if self.severity() == Severity::Info => &[],
            EventBody::UnexpectedOwner(_) | EventBody::Awakened(_) | EventBody::Connect(_) => {
                &[NON_STANDARD_PORT]
            }
            // A filter decides which packets wake the program of a packet or raw socket.
            EventBody::Captured(captured) => match captured.kind {
                CaptureKind::PacketSocket | CaptureKind::RawSocket => &[SOCKET_FILTERS],
                CaptureKind::Xdp => &[TRAFFIC_SIGNALING],
            },
            // A redirection is configured, and signals nothing.
            EventBody::Answered(answered) => match answered.reach.path {
                Path::PacketSocket | Path::RawSocket => &[SOCKET_FILTERS],
                Path::Xdp => &[TRAFFIC_SIGNALING],
                _ => &[],
            },
            _ => &[],
        }
    }
}

fn of_conversation(identified: &Identified) -> &'static [&'static str] {
    match identified.identification.verdict {
        Verdict::Rdp => &[REMOTE_DESKTOP],
        Verdict::Smb => &[SMB],
        Verdict::Ssh => &[SSH],
        Verdict::Vnc => &[VNC],
        Verdict::Telnet | Verdict::Adb => &[REMOTE_SERVICES],
        verdict if verdict.is_scan() => &[SERVICE_DISCOVERY],
        _ => &[],
    }
}
