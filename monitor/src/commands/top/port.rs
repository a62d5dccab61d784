//! A port as the API tells it, with who holds it.

use std::{collections::BTreeSet, fmt::Write as _};

use serde::Deserialize;

use crate::api::port::PortView;

/// A watched port.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Port {
    #[serde(flatten)]
    pub(super) view: PortView,
    sockets: Vec<Socket>,
}

#[derive(Clone, Debug, Deserialize)]
struct Socket {
    transport: String,
    tcp_state: Option<String>,
    holders: Vec<Holder>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Holder {
    name: Option<String>,
    pid: u32,
    systemd_unit: Option<String>,
    container_id: Option<String>,
}

impl Port {
    /// Those who hold or use it, by name; one that has no process as such.
    pub(super) fn holders(&self) -> String {
        let names = self.sockets.iter().flat_map(|socket| &socket.holders).map(Holder::name);
        let names: BTreeSet<&str> = names.collect();
        match (names.is_empty(), self.sockets.is_empty()) {
            (true, false) => "?".to_owned(),
            _ => names.into_iter().collect::<Vec<_>>().join(" "),
        }
    }

    /// How many sockets are on it.
    pub(super) fn sockets(&self) -> usize {
        self.sockets.len()
    }

    /// Its sockets by kind and everybody who holds one, at length.
    pub(super) fn details(&self) -> String {
        if self.sockets.is_empty() {
            return "nobody holds it or talks on it".to_owned();
        }
        let kinds = self.sockets.iter().map(|socket| {
            let state = socket.tcp_state.as_deref().map(|state| format!(" {state}"));
            format!("{}{}", socket.transport, state.unwrap_or_default())
        });
        let mut text = kinds.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ");
        let holders: BTreeSet<&Holder> =
            self.sockets.iter().flat_map(|socket| &socket.holders).collect();
        let mut separator = ": ";
        for holder in holders {
            let _ = write!(text, "{separator}{}[{}]", holder.name(), holder.pid);
            let place = holder.systemd_unit.as_deref().or(holder.container_id.as_deref());
            if let Some(place) = place {
                let _ = write!(text, " {place}");
            }
            separator = ", ";
        }
        text
    }
}

impl Holder {
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("?")
    }
}
