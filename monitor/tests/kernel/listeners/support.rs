//! An agent that reports listeners, and what it says of them.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process,
};

use serde_json::Value;
use testkit::{
    agent::{Agent, Config},
    eventually,
    world::{World, port},
};

/// Offset of the watched port.
const WATCHED: u16 = 0;
/// Offset of the port by which it is known that everything before was reported.
const SENTINEL: u16 = 98;

/// A listener that was opened or closed, as far as tests compare it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) is_open: bool,
    pub(super) protocol: String,
    pub(super) local: SocketAddr,
    pub(super) count: u64,
}

/// A listener that opens.
pub(super) fn opened(protocol: &str, local: SocketAddr) -> Change {
    Change { is_open: true, protocol: protocol.to_owned(), local, count: 1 }
}

/// A listener that closes.
pub(super) fn closed(protocol: &str, local: SocketAddr) -> Change {
    Change { is_open: false, ..opened(protocol, local) }
}

/// An agent that reports listeners, and how many of its reports were compared.
pub(super) struct Listeners {
    pub(super) agent: Agent,
    seen: usize,
}

impl Listeners {
    /// Starts an agent by a mechanism that this kernel may lack; then it says why.
    pub(super) fn start(
        world: &World,
        mechanism: &'static str,
        watch: &str,
    ) -> Result<Self, String> {
        let config = Config::new([port(WATCHED)])
            .mechanism(mechanism)
            .listeners(&format!("{{watch: {watch}}}"));
        let log = ["--log.level", "debug", "--log.format", "json"];
        let agent = Agent::start_with(world, &config, &log);
        match agent.metrics().mechanism("bind", None) {
            None => Err(agent.hook_at_start("bind", None)["reason"].to_string()),
            Some(bind) => {
                assert!(mechanism == "auto" || bind == mechanism, "{bind}");
                Ok(Self { agent, seen: 0 })
            }
        }
    }

    /// The watched port.
    pub(super) fn watched() -> u16 {
        port(WATCHED)
    }

    /// Whether closes of sockets for datagrams are seen.
    pub(super) fn sees_every_close(&self) -> bool {
        self.agent.metrics().mechanism("close", None).is_some_and(|by| by != "tracepoint")
    }

    /// Checks that exactly these listeners were reported since the last call, in this order.
    #[track_caller]
    pub(super) fn saw(&mut self, what: &str, expected: &[Change]) {
        let all = self.changes();
        let sees_every_close = self.sees_every_close();
        let is_seen =
            |change: &&Change| change.is_open || change.protocol == "tcp" || sees_every_close;
        let expected: Vec<&Change> = expected.iter().filter(is_seen).collect();
        let new: Vec<&Change> = all[self.seen..].iter().collect();
        assert_eq!(new, expected, "{what}");
        self.seen = all.len();
    }

    /// Every report until now.
    pub(super) fn changes(&self) -> Vec<Change> {
        let sentinel = SocketAddr::from((Ipv4Addr::LOCALHOST, port(SENTINEL)));
        let before = self.reported().iter().filter(|change| change.local == sentinel).count();
        drop(TcpListener::bind(sentinel).expect("the sentinel"));
        let mut changes = eventually("the sentinel's end", || {
            let changes = self.reported();
            let now = changes.iter().filter(|change| change.local == sentinel).count();
            (now == before + 2).then_some(changes)
        });
        changes.retain(|change| change.local != sentinel);
        changes
    }

    /// Every report of a call by this process.
    pub(super) fn reported(&self) -> Vec<Change> {
        let log = self.agent.log();
        let lines = log.lines().filter(|line| line.contains("listener changed"));
        let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["pid"] == process::id()).map(|line| change(&line)).collect()
    }
}

fn change(line: &Value) -> Change {
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let local = text("address");
    let local = local.trim_start_matches("Some(").trim_end_matches(')');
    Change {
        is_open: text("turn") == "Opened",
        protocol: text("protocol"),
        local: local.parse().expect("an address"),
        count: line["count"].as_u64().expect("a number"),
    }
}
