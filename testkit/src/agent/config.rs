//! The configuration of an agent.

use std::{fmt::Write as _, fs, path::PathBuf};

use crate::world::{World, port};

/// Where the agent of a test listens: in a namespace of its own every port is free.
pub const LISTEN: u16 = 10948;

/// Offset of the port by which a test knows that every earlier event has arrived.
pub(super) const SENTINEL: u16 = 99;

/// A configuration, written out for the agent.
#[derive(Clone, Debug)]
pub struct Config {
    /// Watched ports; one more is added for [`Agent::events`](super::Agent::events).
    pub ports: Vec<u16>,
    /// `interfaces.include`.
    pub include: Vec<&'static str>,
    /// `interfaces.exclude`.
    pub exclude: Vec<&'static str>,
    /// `interfaces.mode`.
    pub mode: &'static str,
    /// `bind.mechanism`.
    pub mechanism: &'static str,
    /// `process.command_line`.
    pub command_line: &'static str,
    /// `payload`, as a flow mapping.
    pub payload: &'static str,
    /// `identified`: by default every call and conversation is an event of its own.
    pub identified: &'static str,
    /// Port of the web server.
    pub listen: u16,
    /// What follows the number of each port: keys of its mapping, none for a number alone.
    pub port_keys: String,
    /// Sinks beside the file that [`Agent::events`](super::Agent::events) reads, each as a mapping.
    pub sinks: Vec<String>,
    /// Keys of `store` beside `path`, as `max_size: 1MiB`.
    pub store_keys: String,
    /// Keys of `web` beside `listen`, as `details: never`.
    pub web_keys: String,
    /// `listeners`, as a flow mapping.
    pub listeners: String,
}

impl Config {
    /// Watches these ports, and no interface.
    pub fn new(ports: impl IntoIterator<Item = u16>) -> Self {
        Self {
            ports: ports.into_iter().collect(),
            include: Vec::new(),
            exclude: Vec::new(),
            mode: "auto",
            mechanism: "auto",
            command_line: "true",
            payload: "{capture: true, keep: bytes}",
            identified: "every",
            listen: LISTEN,
            port_keys: String::new(),
            sinks: Vec::new(),
            store_keys: String::new(),
            web_keys: String::new(),
            listeners: String::from("{watch: none}"),
        }
    }

    /// Writes events there, too.
    pub fn with_sinks(self, sinks: impl IntoIterator<Item = String>) -> Self {
        Self { sinks: sinks.into_iter().collect(), ..self }
    }

    /// Adds keys to the section `store`.
    pub fn with_store_keys(self, keys: &str) -> Self {
        Self { store_keys: keys.to_owned(), ..self }
    }

    /// Adds keys to the section `web`.
    pub fn with_web_keys(self, keys: &str) -> Self {
        Self { web_keys: keys.to_owned(), ..self }
    }

    /// Sets `listeners`, as `{watch: all}`.
    pub fn listeners(self, mapping: &str) -> Self {
        Self { listeners: mapping.to_owned(), ..self }
    }

    /// Adds keys to the mapping of every port, as `dormant_after: 7d`.
    pub fn with_port_keys(self, keys: &str) -> Self {
        Self { port_keys: keys.to_owned(), ..self }
    }

    /// Counts on interfaces that match these globs.
    pub fn on(self, include: &[&'static str]) -> Self {
        Self { include: include.to_vec(), ..self }
    }

    /// Forces the mode of attachment.
    pub fn mode(self, mode: &'static str) -> Self {
        Self { mode, ..self }
    }

    /// Sets what is done with payloads.
    pub fn payload(self, payload: &'static str) -> Self {
        Self { payload, ..self }
    }

    /// Sets which of the events alike are emitted as they are.
    pub fn identified(self, identified: &'static str) -> Self {
        Self { identified, ..self }
    }

    /// Forces the mechanism of bind tracing.
    pub fn mechanism(self, mechanism: &'static str) -> Self {
        Self { mechanism, ..self }
    }

    fn yaml(&self, world: &World) -> String {
        /// More than an interpreter has, and less than the test program, which is not worth the time.
        const EVIDENCE: &str = "16MiB";
        let mut text = String::from("ports:\n");
        let sentinel = Some(port(SENTINEL)).filter(|sentinel| !self.ports.contains(sentinel));
        for port in self.ports.iter().chain(&sentinel) {
            let _ = match &*self.port_keys {
                "" => writeln!(text, "  - {port}"),
                keys => writeln!(text, "  - {{port: {port}, {keys}}}"),
            };
        }
        let events = events_path(world);
        let store = world.path("ghostport.db");
        let _ = writeln!(text, "store:\n  path: {}\n  {}", store.display(), self.store_keys);
        let _ = write!(
            text,
            "interfaces:\n  include: {:?}\n  exclude: {:?}\n  mode: {}\n\
             bind:\n  mechanism: {}\n\
             payload: {}\n\
             identified: {}\n\
             process:\n  command_line: {}\n\
             evidence:\n  max_size: {EVIDENCE}\n\
             listeners: {}\n\
             web:\n  listen: [\"127.0.0.1:{}\"]\n  {}\n\
             sinks:\n  - {{kind: file, path: {}}}\n",
            self.include,
            self.exclude,
            self.mode,
            self.mechanism,
            self.payload,
            self.identified,
            self.command_line,
            self.listeners,
            self.listen,
            self.web_keys,
            events.display(),
        );
        self.sinks.iter().for_each(|sink| text.push_str(&format!("  - {sink}\n")));
        text
    }

    /// Writes it where the agent looks for it.
    pub fn write(&self, world: &World) -> PathBuf {
        let path = world.path("ghostport.yaml");
        fs::write(&path, self.yaml(world)).expect("written");
        path
    }
}

pub(super) fn events_path(world: &World) -> PathBuf {
    world.path("events.jsonl")
}
