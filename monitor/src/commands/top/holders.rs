//! The holders of a port in words.

use std::{collections::BTreeSet, fmt::Write as _};

use crate::api::{
    end::End,
    port::Port,
    socket::{Holder, Socket},
};

/// Names of the processes that hold or use the port, and behind an arrow of those that its packets are
/// led to; `?` where there are sockets, and no process is known.
pub(super) fn names(port: &Port) -> String {
    let names: BTreeSet<&str> = holders(port).map(name).collect();
    let mut text = match (names.is_empty(), sockets(port).next().is_none()) {
        (true, false) => "?".to_owned(),
        _ => names.into_iter().collect::<Vec<_>>().join(" "),
    };
    if !text.is_empty() && port.is_expected() == Some(true) {
        text.push_str(" (expected)");
    }
    let ends: BTreeSet<String> = ends(port).filter_map(end_name).collect();
    for end in ends {
        let space = if text.is_empty() { "" } else { " " };
        let _ = write!(text, "{space}→{end}");
    }
    text
}

/// The ends of the ways that lead on from the port now.
fn ends(port: &Port) -> impl Iterator<Item = &End> {
    let answered = port.answered_by.iter().filter(|way| !way.over).map(|way| &way.end);
    answered.chain(port.forwarded_to.iter().map(|way| &way.end))
}

/// The program there, or what is known of the place.
fn end_name(end: &End) -> Option<String> {
    let program = end.holders.iter().flatten().find_map(|holder| holder.name.clone());
    program.or_else(|| end.target.clone())
}

/// The sockets of the port by kind, and every process that holds one.
pub(super) fn details(port: &Port) -> String {
    let answered = port.answered_by.iter().map(|way| way.sentence(port.port));
    let forwarded = port.forwarded_to.iter().map(|way| way.sentence(port.port));
    let ways: Vec<String> = answered.chain(forwarded).collect();
    let is_free = sockets(port).next().is_none();
    if !ways.is_empty() && is_free {
        return ways.join("; ");
    }
    if is_free {
        let nothing = "no process holds it or talks on it";
        return match &port.last_sender {
            Some(sender) => {
                let (program, target) = (sender.program(), sender.target(port.port));
                format!("{nothing}; {program} sent last, {target} at {:.0}", sender.time)
            }
            None => nothing.to_owned(),
        };
    }
    let kinds: BTreeSet<String> = sockets(port).map(kind).collect();
    let mut text = kinds.into_iter().collect::<Vec<_>>().join(", ");
    let sorted: BTreeSet<_> = holders(port)
        .map(|holder| {
            let place = holder.systemd_unit.as_deref().or(holder.container_id.as_deref());
            (name(holder), holder.pid, place)
        })
        .collect();
    let mut separator = ": ";
    for (name, pid, place) in sorted {
        let _ = write!(text, "{separator}{name}[{pid}]");
        if let Some(place) = place {
            let _ = write!(text, " {place}");
        }
        separator = ", ";
    }
    let has_expected = sockets(port).any(|socket| socket.expected == Some(true));
    text.push_str(match (port.is_expected(), has_expected) {
        (Some(true), _) => " (expected)",
        (_, true) => " (some of them expected)",
        (_, false) => "",
    });
    if sockets(port).any(|socket| socket.holders.is_none()) {
        let _ = write!(text, "{separator}holders that the agent may not see");
    }
    for way in ways {
        let _ = write!(text, "; {way}");
    }
    text
}

/// Transport and state.
fn kind(socket: &Socket) -> String {
    let state = socket.tcp_state.map(|state| format!(" {}", state.name()));
    format!("{}{}", socket.transport.name(), state.unwrap_or_default())
}

fn holders(port: &Port) -> impl Iterator<Item = &Holder> {
    sockets(port).filter_map(|socket| socket.holders.as_ref()).flatten().map(|holder| &**holder)
}

/// The sockets of the port, without those of clients elsewhere that have it by chance.
fn sockets(port: &Port) -> impl Iterator<Item = &Socket> {
    port.sockets.iter().filter(|socket| !socket.is_by_chance())
}

fn name(holder: &Holder) -> &str {
    holder.name.as_deref().unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sockets::{self, udp_socket};

    #[test]
    fn unknown_holders_are_shown_as_unknown() {
        let hidden = sockets::Socket { holders_unknown: true, ..udp_socket(2948) };
        let port = Port::with_sockets(2948, Socket::list(&[hidden]));
        let json = serde_json::to_string(&port).expect("JSON");
        let port: Port = serde_json::from_str(&json).expect("a port without holders is read");
        assert_eq!(names(&port), "?");
        assert_eq!(details(&port), "udp: holders that the agent may not see");
    }

    #[test]
    fn expected_owners_are_shown_as_such() {
        let of = |expected| {
            let holders = vec![std::sync::Arc::new(crate::process::Identity {
                name: Some("bearerbox".to_owned()),
                ..crate::process::Identity::unknown(7)
            })];
            sockets::Socket { holders, expected: Some(expected), ..udp_socket(2948) }
        };
        let port = |sockets: &[sockets::Socket]| Port::with_sockets(2948, Socket::list(sockets));
        assert_eq!(names(&port(&[of(true)])), "bearerbox (expected)");
        assert_eq!(details(&port(&[of(true)])), "udp: bearerbox[7] (expected)");
        assert_eq!(names(&port(&[of(true), of(false)])), "bearerbox");
        let both = details(&port(&[of(true), of(false)]));
        assert_eq!(both, "udp: bearerbox[7] (some of them expected)");
        assert_eq!(details(&port(&[of(false)])), "udp: bearerbox[7]");
    }

    #[test]
    fn what_leads_elsewhere_follows_the_holders() {
        let port = |json| -> Port { serde_json::from_value(json).expect("a port") };
        let answered = port(json!({
            "port": 2948,
            "answered_by": [{
                "transport": "tcp", "path": "dnat", "in_use": true, "connections": 41,
                "target": "10.244.1.7:8080", "target_scope": "namespace",
                "holders": [{"pid": 7, "name": "nginx"}],
            }],
        }));
        assert_eq!(names(&answered), "→nginx");
        let line = "2948 is answered by DNAT to 10.244.1.7:8080 (nginx, 41 tcp connections)";
        assert_eq!(details(&answered), line);
        let forwarded = port(json!({
            "port": 2948,
            "sockets": [{
                "transport": "tcp", "tcp_state": "listen", "family": "ipv4", "side": "local",
                "local_address": "0.0.0.0", "local_port": 2948,
                "holders": [{"pid": 6, "name": "docker-proxy"}],
            }],
            "forwarded_to": [{
                "transport": "tcp", "proxy": "docker-proxy", "proxy_pid": 6,
                "target": "172.17.0.2:80",
            }],
        }));
        assert_eq!(names(&forwarded), "docker-proxy →172.17.0.2:80");
        let line = "tcp listen: docker-proxy[6]; 2948 is passed on by docker-proxy to \
                    172.17.0.2:80 (tcp)";
        assert_eq!(details(&forwarded), line);
    }
}
