//! What a proxy that holds a port for a container does with it.

use std::fmt::Write as _;

use monitor_common::flow::Protocol;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{end::End, named};
use crate::sockets::{Forwarding, Proxy};

/// A container behind a proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForwardedTo {
    /// Transport protocol.
    #[schemars(with = "String")]
    #[serde(with = "named")]
    pub transport: Protocol,
    /// The program that holds the port.
    #[schemars(with = "String")]
    #[serde(with = "named")]
    pub proxy: Proxy,
    /// Its process id.
    pub proxy_pid: u32,
    /// Where it leads.
    #[serde(flatten)]
    pub end: End,
    /// Ports of listeners in the container, where it is not known to which of them it leads; `holders`
    /// are then those of all of them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub possible_ports: Vec<u16>,
}

impl ForwardedTo {
    /// Those of `forwardings` that are about `port`.
    pub fn on_port(forwardings: &[Forwarding], port: u16) -> Vec<Self> {
        forwardings.iter().filter(|found| found.port == port).map(Self::from).collect()
    }

    /// One line, such as `2948 is passed on by docker-proxy to 172.17.0.2:80 (container 0123456789ab,
    /// nginx, tcp)`.
    pub fn sentence(&self, port: u16) -> String {
        let mut sentence = format!("{port} is passed on by {}", self.proxy.name());
        match (&self.end.target, self.end.target_netns_inode) {
            (Some(target), _) => {
                let _ = write!(sentence, " to {target}");
            }
            (None, Some(inode)) => {
                let ports: Vec<String> = self.possible_ports.iter().map(u16::to_string).collect();
                let ports = if ports.is_empty() {
                    "a port".to_owned()
                } else {
                    format!("one of the ports {}", ports.join(", "))
                };
                let _ = write!(sentence, " to {ports} in network namespace {inode}");
            }
            (None, None) => sentence.push_str(" to a container that cannot be found"),
        }
        let details = self.end.details(self.transport.name().to_owned());
        let _ = write!(sentence, " ({details})");
        sentence
    }
}

impl From<&Forwarding> for ForwardedTo {
    fn from(found: &Forwarding) -> Self {
        Self {
            transport: found.protocol,
            proxy: found.proxy,
            proxy_pid: found.proxy_pid,
            possible_ports: found.possible_ports.clone(),
            end: End::new(
                found.target.as_ref(),
                (found.place, None),
                found.pod.as_ref(),
                &found.holders,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockets::Place;

    fn forwarded(target: Option<&str>, place: Place) -> ForwardedTo {
        ForwardedTo::from(&Forwarding {
            port: 2948,
            protocol: Protocol::Tcp,
            proxy: Proxy::DockerProxy,
            proxy_pid: 7,
            target: target.map(str::to_owned),
            possible_ports: Vec::new(),
            place,
            pod: None,
            holders: Vec::new(),
        })
    }

    #[test]
    fn a_line_says_where_to_or_that_it_is_unknown() {
        let there = Place::Namespace { netns_inode: 9 };
        assert_eq!(
            forwarded(Some("172.17.0.2:80"), there).sentence(2948),
            "2948 is passed on by docker-proxy to 172.17.0.2:80 (no process is known there, tcp)"
        );
        assert_eq!(
            forwarded(None, there).sentence(2948),
            "2948 is passed on by docker-proxy to a port in network namespace 9 \
             (no process is known there, tcp)"
        );
        let several = ForwardedTo { possible_ports: vec![80, 443], ..forwarded(None, there) };
        assert_eq!(
            several.sentence(2948),
            "2948 is passed on by docker-proxy to one of the ports 80, 443 in network namespace 9 \
             (no process is known there, tcp)"
        );
        assert_eq!(
            forwarded(None, Place::Unknown).sentence(2948),
            "2948 is passed on by docker-proxy to a container that cannot be found (tcp)"
        );
    }

    #[test]
    fn json_is_read_back_as_it_was_written() {
        let forwarded = forwarded(Some("172.17.0.2:80"), Place::Namespace { netns_inode: 9 });
        let json = serde_json::to_value(&forwarded).expect("JSON");
        let expected = serde_json::json!({
            "transport": "tcp",
            "proxy": "docker-proxy",
            "proxy_pid": 7,
            "target": "172.17.0.2:80",
            "target_scope": "namespace",
            "target_netns_inode": 9,
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<ForwardedTo>(json).expect("read back"), forwarded);
    }
}
