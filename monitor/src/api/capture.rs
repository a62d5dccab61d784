//! A socket that takes packets of a port without holding the port.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{named, socket::Holder};
use crate::sockets::{self, CaptureKind};

/// A packet, raw or AF_XDP socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Capture {
    /// Kind of socket.
    #[schemars(with = "String")]
    #[serde(with = "named")]
    pub kind: CaptureKind,
    /// What it takes, in words: `only port 2948/udp`, `everything`, `unknown`.
    pub filter: String,
    /// Whether it takes packets of watched ports and no others.
    pub only_watched: bool,
    /// Inode of the network namespace, as in `/proc/PID/ns/net`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub netns_inode: Option<u32>,
    /// The processes that have a descriptor of it; absent where they could not be looked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub holders: Option<Vec<Arc<Holder>>>,
}

impl Capture {
    /// Those of `captures` that take packets of `port`, or may take them.
    pub fn on_port(captures: &[sockets::Capture], port: u16) -> Vec<Self> {
        captures.iter().filter(|capture| capture.scope.includes(port)).map(Self::from).collect()
    }
}

impl From<&sockets::Capture> for Capture {
    fn from(capture: &sockets::Capture) -> Self {
        let holders = capture.holders.iter().map(|holder| Arc::new(Holder::from(&**holder)));
        Self {
            kind: capture.kind,
            filter: capture.filter(),
            only_watched: capture.is_targeted(),
            netns_inode: capture.netns_inode,
            holders: (!capture.holders_unknown).then(|| holders.collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use monitor_common::flow::Protocol;

    use super::*;
    use crate::sockets::{CapturedPort, Scope, packet_socket};

    #[test]
    fn a_port_has_the_captures_that_may_take_its_packets() {
        let udp = CapturedPort { port: 2948, protocol: Protocol::Udp };
        let captures =
            [Scope::OnlyWatched(vec![udp]), Scope::Everything, Scope::Unknown].map(packet_socket);
        let on = |port| -> Vec<String> {
            Capture::on_port(&captures, port).into_iter().map(|capture| capture.filter).collect()
        };
        assert_eq!(on(2948), ["only port 2948/udp", "everything", "unknown"]);
        assert_eq!(on(2949), ["everything", "unknown"]);
    }

    #[test]
    fn json_is_read_back_as_it_was_written() {
        let captures = Capture::on_port(&[packet_socket(Scope::Everything)], 2948);
        let json = serde_json::to_string(&captures).expect("JSON");
        let expected = concat!(
            r#"[{"kind":"packet_socket","filter":"everything","only_watched":false,"#,
            r#""netns_inode":4026531840,"holders":[]}]"#,
        );
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<Vec<Capture>>(&json).expect("captures"), captures);
    }
}
