//! The holders of a port in words.

use std::{collections::BTreeSet, fmt::Write as _};

use crate::api::{
    port::Port,
    socket::{Holder, Socket},
};

/// Names of the processes that hold or use the port; `?` where there are sockets, and no process is
/// known.
pub(super) fn names(port: &Port) -> String {
    let names: BTreeSet<&str> = holders(&port.sockets).map(name).collect();
    match (names.is_empty(), port.sockets.is_empty()) {
        (true, false) => "?".to_owned(),
        _ => names.into_iter().collect::<Vec<_>>().join(" "),
    }
}

/// The sockets of the port by kind, and every process that holds one.
pub(super) fn details(port: &Port) -> String {
    let ways: Vec<String> = port.answered_by.iter().map(|way| way.sentence(port.port)).collect();
    if !ways.is_empty() && port.sockets.is_empty() {
        return ways.join("; ");
    }
    if port.sockets.is_empty() {
        return "no process holds it or talks on it".to_owned();
    }
    let kinds: BTreeSet<String> = port.sockets.iter().map(kind).collect();
    let mut text = kinds.into_iter().collect::<Vec<_>>().join(", ");
    let sorted: BTreeSet<_> = holders(&port.sockets)
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
    if port.sockets.iter().any(|socket| socket.holders.is_none()) {
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

fn holders(sockets: &[Socket]) -> impl Iterator<Item = &Holder> {
    sockets.iter().filter_map(|socket| socket.holders.as_ref()).flatten().map(|holder| &**holder)
}

fn name(holder: &Holder) -> &str {
    holder.name.as_deref().unwrap_or("?")
}

#[cfg(test)]
mod tests {
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
}
